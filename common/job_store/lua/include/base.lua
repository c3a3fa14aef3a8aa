-- Input for every script: KEYS[1] routes to the partition (its tag is `tag`);
-- ARGV: the number of named arguments, their names and values, then fields to write and values.
-- Output: {code, value…}. Numbers travel as strings: Lua would print large ones as 1.7e+12.

local tag = string.match(KEYS[1], '{p%d%d}')
local args = {}
local first_field = ARGV[1] * 2 + 2
for i = 2, first_field - 1, 2 do args[ARGV[i]] = ARGV[i + 1] end

local function text(number)
  return string.format('%.0f', number)
end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local moment = text(now)

local function load(id)
  local flat = redis.call('HGETALL', key.status(id))
  if #flat == 0 then return nil end
  local job = {}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  return job
end

-- `allowed` is a list of states by commas, handed in from common/jobs/transitions.py.
local function among(state, allowed)
  return string.find(',' .. allowed .. ',', ',' .. state .. ',', 1, true) ~= nil
end
