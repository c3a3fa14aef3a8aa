-- @include wake_up
--[[
  The other half of wake_up, not part of it because Lua creates all functions again on every run,
  and creating a job needs none of these.

  dequeue(id, line, priority): the job no longer waits; the next one in line gets its wake-up
  retract_wake_up(id, priority): removes the job's message from the broker's queue, if it is still
    there and the broker is this server
]]

local function retract_wake_up(id, priority)
  local sent = redis.call('ZSCORE', key.wake_ups_sent(priority), id)
  if sent and message then
    -- From the tail, where the oldest messages are.
    redis.call('LREM', queue .. priority, -1, message(id, priority, to_text(sent)))
  end
end

local function dequeue(id, line, priority)
  redis.call('ZREM', key.waiting(priority), id)
  redis.call('ZREM', key.wake_ups_sent(priority), id)
  local user_queue = key.user_queue(line, priority)
  local first, second = unpack(redis.call('LRANGE', user_queue, 0, 1))
  redis.call('LREM', user_queue, 1, id)
  if first == id and second then send_wake_up(second, priority) end
end
