-- @include base
-- Fair turns: a user's queued jobs of a priority stand in line, and only the first of them is known to
-- the broker; the next steps forward as it is claimed. So whoever queues a thousand jobs is one among
-- equals for everybody else. A priority is a queue of the broker: a job's priority, until it has waited so
-- long that it moves on to the next better one.
--
-- hint(id, user, priority): the job is ready to run: send its wake-up message, or put it in line.
-- step_back(id, user, priority): it is no longer waiting; the next in line steps forward.
--
-- retract(id, priority): takes the job's message back, where it can be reached and is not read yet.
--
-- Event: a Celery message on the queue's list where the broker is this server (then there are
-- `queue` and `message`); elsewhere the caller gets `hints`, triples of id, priority and time, and sends
-- them itself.

local hints = {}

local function send(id, priority)
  redis.call('ZADD', key.wake_ups_sent(priority), moment, id)
  if message then
    redis.call('LPUSH', queue .. priority, message(id, priority, moment))
  else
    for _, value in ipairs({id, priority, moment}) do hints[#hints + 1] = value end
  end
end

local function retract(id, priority)
  local sent = redis.call('ZSCORE', key.wake_ups_sent(priority), id)
  if sent and message then
    -- From the tail, where the oldest are.
    redis.call('LREM', queue .. priority, -1, message(id, priority, text(sent)))
  end
end

local function hint(id, user, priority)
  redis.call('ZADD', key.waiting(priority), 'NX', moment, id)
  if redis.call('RPUSH', key.user_queue(user, priority), id) == 1 then send(id, priority) end
end

local function step_back(id, user, priority)
  redis.call('ZREM', key.waiting(priority), id)
  redis.call('ZREM', key.wake_ups_sent(priority), id)
  local line = key.user_queue(user, priority)
  local was_first = redis.call('LINDEX', line, 0) == id
  redis.call('LREM', line, 1, id)
  local first = was_first and redis.call('LINDEX', line, 0)
  if first then send(first, priority) end
end
