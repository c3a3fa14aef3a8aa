-- @include base
-- Fair turns: of each user and lane one queued job at a time is known to the broker; the others
-- stand in the user's line and step forward as jobs are claimed. So whoever queues a thousand jobs
-- is one among equals for everybody else. A lane is a queue of the broker: a job's priority, until
-- it has waited so long that it moves on to the next better one.
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
  local sent = text(now)
  redis.call('ZADD', key.hinted(lane), sent, id)
  if message then
    redis.call('LPUSH', queue .. lane, message(id, lane, sent))
  else
    for _, value in ipairs({id, lane, sent}) do hints[#hints + 1] = value end
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
  redis.call('ZADD', key.waiting(lane), 'NX', text(now), id)
  if redis.call('HSETNX', key.user_turn(user), lane, id) == 1 then
    send(id, lane)
  else
    redis.call('RPUSH', key.user_line(user, lane), id)
  end
end

local function step_back(id, user, lane)
  redis.call('ZREM', key.waiting(lane), id)
  redis.call('ZREM', key.hinted(lane), id)
  redis.call('LREM', key.user_line(user, lane), 1, id)
  if redis.call('HGET', key.user_turn(user), lane) ~= id then return end
  local next_in_line = redis.call('LPOP', key.user_line(user, lane))
  if next_in_line then
    redis.call('HSET', key.user_turn(user), lane, next_in_line)
    send(next_in_line, lane)
  else
    redis.call('HDEL', key.user_turn(user), lane)
  end
end
