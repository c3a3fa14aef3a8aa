-- @include bytes
-- @include wake_up
--[[
  Creates a job, or finds the one that the same request created before. Checks the user's rate limit
  and the maximum of active jobs.

  Input:
    KEYS[1]  the job's status
    ARGV     by position, as names would take longer than any command of this script; empty where
             something is missing:
             - the fields that every new job has, as required_fields in common/job_store/records.py
               returns them
             - spec (JSON), snapshot (required and optional fields as a JSON object), max_active
             - of a plan: max_bytes (of archives completed today), weight (number of the user's
               queues)
             - idempotency (the request's key), idempotency_ttl (ms)
             - minute and rate_limit (the minute and the limit of a CreationRate), if requests are
               counted
             - turn and round (see QueuePlace in common/jobs/model.py), if the API knows the queue
             - names and values of the optional fields
  Output:
    {'CREATED' | 'REPLAYED' | 'DEDUPLICATED', hits, snapshot, wake-ups…}
    {'KEY_REUSED' | 'TOO_MANY_ACTIVE_JOBS' | 'RATE_LIMIT_EXCEEDED' | 'QUOTA_EXCEEDED', hits}
    hits: the user's requests in this minute
  Event:
    state log, the wake-up; nothing on the job's channel, as nobody can know it yet
]]

local id, user, lane, digest, status, priority, on_missing, max_attempts, total_files, spec,
  snapshot, max_active, max_bytes, weight, idempotency, idempotency_ttl, minute, rate_limit,
  turn, round = unpack(ARGV, 1, 20)
local FIRST_OPTIONAL_FIELD = 21
local hits = 0

if rate_limit ~= '' then
  local counter = key.user_rate(user, minute)
  hits = redis.call('INCR', counter)
  if hits == 1 then redis.call('EXPIRE', counter, 120) end
  if hits > tonumber(rate_limit) then return {'RATE_LIMIT_EXCEEDED', hits} end
end

local function store_idempotency_key(job_id)
  if idempotency ~= '' then
    local record = key.idempotency(user, idempotency)
    redis.call('SET', record, digest .. ' ' .. job_id, 'PX', idempotency_ttl)
  end
end

if idempotency ~= '' then
  local first = redis.call('GET', key.idempotency(user, idempotency))
  local job = first and load_job(string.sub(first, #digest + 2))
  -- Users and keys may contain colons, so the record may be that of another user: of `a` with the key
  -- `b:c`, and of `a:b` with `c`.
  if first and not (job and job.user ~= user) then
    if string.sub(first, 1, #digest) ~= digest then return {'KEY_REUSED', hits} end
    if job then return {'REPLAYED', hits, cjson.encode(job)} end
  end
end

local active = key.user_active(user)
if redis.call('HSETNX', active, digest, id) == 0 then
  local running = redis.call('HGET', active, digest)
  local job = load_job(running)
  if job then
    store_idempotency_key(running)
    if idempotency ~= '' then
      -- The job has to be kept for as long as the record of its latest key.
      redis.call('HSET', key.status(running), 'idempotent', '1', 'idempotent_at', now_text)
    end
    -- The client library sends a command again when it misses the response: same id, same call.
    return {running == id and 'CREATED' or 'DEDUPLICATED', hits, cjson.encode(job)}
  end
  redis.call('HSET', active, digest, id)
end

local active_jobs = redis.call('HLEN', active)
if active_jobs > tonumber(max_active) then
  redis.call('HDEL', active, digest)
  return {'TOO_MANY_ACTIVE_JOBS', hits}
end
if max_bytes ~= '' and bytes_today(user) >= tonumber(max_bytes) then
  redis.call('HDEL', active, digest)
  return {'QUOTA_EXCEEDED', hits}
end

store_idempotency_key(id)
redis.call('SET', key.spec(id), spec)
redis.call('ZADD', key.user_jobs(user), now_text, id)
-- It expires when the user has no unfinished job.
if active_jobs == 1 then redis.call('PERSIST', key.user_jobs(user)) end
local line, in_line = user, redis.call('LLEN', key.user_queue(user, lane))
-- The user's queue with the fewest jobs.
for number = 2, tonumber(weight) or 1 do
  if in_line == 0 then break end
  local other = user .. '#' .. number
  local jobs = redis.call('LLEN', key.user_queue(other, lane))
  if jobs < in_line then line, in_line = other, jobs end
end
if turn ~= '' and in_line > 0 then
  -- The first job of the user's queue is somewhere in its round: on average, half of it is over.
  turn = to_text(turn + in_line * round - math.floor(round / 2))
end
-- Not by update_job: the caller has encoded the snapshot already, which saves a third of this
-- script's time.
redis.call('HSET', key.status(id), 'version', '1', 'created_at', now_text, 'updated_at', now_text,
  'turn', turn, 'id', id, 'user', user, 'lane', lane, 'digest', digest, 'status', status,
  'priority', priority, 'on_missing', on_missing, 'max_attempts', max_attempts,
  'total_files', total_files, unpack(ARGV, FIRST_OPTIONAL_FIELD))
snapshot = string.sub(snapshot, 1, -2) .. ',"version":"1","created_at":"' .. now_text
  .. '","updated_at":"' .. now_text .. '","turn":"' .. turn .. '"}'
if line ~= user then redis.call('HSET', key.status(id), 'line', line) end
redis.call('XADD', key.state_log(), '*', 'job', snapshot)
enqueue(id, line, lane)
return {'CREATED', hits, snapshot, unpack(wake_ups)}
