--[[
  What every script begins with.

  Input:
    KEYS[1]  any key of the partition; its hash tag becomes `tag`
  Output:
    {code, value…}. Numbers travel as strings: Lua would print large ones as 1.7e+12.

  Defines: tag, now (ms, a number), now_text (the same as a string), to_text(number), load_job(id)
]]

local tag = string.match(KEYS[1], '{p%d%d}')

local function to_text(number)
  return string.format('%.0f', number)
end

-- The server's clock: the clocks of workers may differ.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local now_text = to_text(now)

local function load_job(id)
  local flat = redis.call('HGETALL', key.status(id))
  if #flat == 0 then return nil end
  local job = {}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  return job
end
