-- @include base
-- Fair turns: a user's queued jobs of a lane stand in line, and only the first of them is known to
-- the broker; the next steps forward as it is claimed. So whoever queues a thousand jobs is one among
-- equals for everybody else. A lane is a queue of the broker: a job's priority, until it has waited so
-- long that it moves on to the next better one.
--
-- hint(id, user, lane): the job is ready to run: send its wake-up message, or put it in line.
-- step_back(id, user, lane): it is no longer waiting; the next in line steps forward.
--
-- retract(id, lane): takes the job's message back, where it can be reached and is not read yet.
--
-- Event: a Celery message on the queue's list where the broker is this server (then there are
-- `queue` and `message`); elsewhere the caller gets `hints`, triples of id, lane and time, and sends
-- them itself.

local hints = {}

local function send(id, lane)
  redis.call('ZADD', key.hinted(lane), moment, id)
  if message then
    redis.call('LPUSH', queue .. lane, message(id, lane, moment))
  else
    for _, value in ipairs({id, lane, moment}) do hints[#hints + 1] = value end
  end
end

local function retract(id, lane)
  local sent = redis.call('ZSCORE', key.hinted(lane), id)
  if sent and message then
    -- From the tail, where the oldest are.
    redis.call('LREM', queue .. lane, -1, message(id, lane, text(sent)))
  end
end

local function hint(id, user, lane)
  redis.call('ZADD', key.waiting(lane), 'NX', moment, id)
  if redis.call('RPUSH', key.user_line(user, lane), id) == 1 then send(id, lane) end
end

local function step_back(id, user, lane)
  redis.call('ZREM', key.waiting(lane), id)
  redis.call('ZREM', key.hinted(lane), id)
  local line = key.user_line(user, lane)
  local was_first = redis.call('LINDEX', line, 0) == id
  redis.call('LREM', line, 1, id)
  local first = was_first and redis.call('LINDEX', line, 0)
  if first then send(first, lane) end
end
