-- @include base
--[[
  Fair sharing between users. The queued jobs of a user and priority form a list, and only the first
  of them has a wake-up in the broker's queue; the next one gets its wake-up when the first is
  claimed. So a user with 1,000 queued jobs gets only a fair share of the workers. The priority is
  the broker's queue: first the job's own, after a long wait the next higher one. The job's hash
  calls it `lane`.

  A user whose plan has a weight has as many lists. They are named after the user and a number, and
  the job's hash calls its list `line`; see api/limits/plans.py.

  line_of(job): the name of the job's list
  enqueue(id, line, priority): the job is ready to run: send its wake-up, or put it in line

  Event:
    A Celery message on the queue's list, where the broker is this server: then the script begins
    with definitions of `queue` and `message`. Otherwise the caller gets `wake_ups`, triples of id,
    priority and time (ms), and sends them itself.
]]

local wake_ups = {}

local function send_wake_up(id, priority)
  redis.call('ZADD', key.wake_ups_sent(priority), now_text, id)
  if message then
    redis.call('LPUSH', queue .. priority, message(id, priority, now_text))
  else
    for _, value in ipairs({id, priority, now_text}) do wake_ups[#wake_ups + 1] = value end
  end
end

local function line_of(job)
  return job.line or job.user
end

local function enqueue(id, line, priority)
  redis.call('ZADD', key.waiting(priority), 'NX', now_text, id)
  if redis.call('RPUSH', key.user_queue(line, priority), id) == 1 then
    send_wake_up(id, priority)
  end
end
