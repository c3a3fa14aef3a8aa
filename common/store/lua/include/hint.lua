-- @include base
-- Fair turns: of each user and lane one queued job at a time is known to the broker; the others
-- stand in the user's line and step forward as jobs are claimed. So whoever queues a thousand jobs
-- is one among equals for everybody else. A lane is a queue of the broker: a job's priority, until
-- it has waited so long that it moves on to the next better one.
--
-- hint(id, user, lane): the job is ready to run: send its wake-up message, or put it in line.
-- step_back(id, user, lane): it is no longer waiting; the next in line steps forward.
--
-- Event: a Celery message on the queue's list where the broker is this server (args.message);
-- elsewhere the caller gets `hints`, pairs of id and lane, and sends them itself.

local hints = {}

local function send(id, lane)
  redis.call('ZADD', key.hinted(lane), text(now), id)
  if (args.message or '') ~= '' then
    local queue = args.queue .. lane
    local unique = id .. '.' .. text(now) .. '.' .. redis.call('HGET', key.status(id), 'version')
    local marks = {JOB = id, TAG = unique, QUEUE = queue}
    redis.call('LPUSH', queue, (string.gsub(args.message, '@(%u+)@', marks)))
  else
    hints[#hints + 1] = id
    hints[#hints + 1] = lane
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
