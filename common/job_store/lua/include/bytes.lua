-- @include base
--[[
  The bytes of the archives that a user's jobs completed today, in UTC.

  bytes_today(user): their number
  count_bytes(job, changes): counts the archive in changes.artifact. A job that completes again, after
    a restart, counts only what it has more than before
]]

local DAY = 86400000

local function bytes_key(user)
  local day = to_text(math.floor(now / DAY))
  return key.user_bytes(user, day)
end

local function bytes_today(user)
  return tonumber(redis.call('GET', bytes_key(user)) or '0')
end

local function count_bytes(job, changes)
  local size, counted = cjson.decode(changes.artifact).size, tonumber(job.counted_bytes or '0')
  if size <= counted then return end
  changes.counted_bytes = to_text(size)
  redis.call('INCRBY', bytes_key(job.user), to_text(size - counted))
  redis.call('PEXPIRE', bytes_key(job.user), 2 * DAY)
end
