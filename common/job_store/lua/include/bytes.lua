-- @include base
--[[
  The bytes of the archives that a user's jobs completed today, in UTC.

  DAY: ms
  bytes_key(user): the key of their number
  bytes_today(user): their number
]]

local DAY = 86400000

local function bytes_key(user)
  local day = to_text(math.floor(now / DAY))
  return key.user_bytes(user, day)
end

local function bytes_today(user)
  return tonumber(redis.call('GET', bytes_key(user)) or '0')
end
