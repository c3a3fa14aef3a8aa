-- @include bytes
-- @include wake_up
--[[
  Creates a job, or finds the one that the same request created before. Checks the user's rate limit
  and the maximum of active jobs.

  Input:
    KEYS[1]  the job's status
    args     spec (JSON), snapshot (the fields as a JSON object), max_active, idempotency_ttl (ms);
             idempotency (the key), if the request has one; minute and quota (the minute and the
             limit of a CreationRate), if requests are counted; turn and round (see
             QueuePlace in common/jobs/model.py), if the API knows the queue; of a plan: max_bytes
             (of archives completed today) and weight (number of the user's queues), if it has them
    fields   the job's hash except its version and times, in the order of first_fields in
             common/job_store/records.py: id, user, lane and digest (of the request) first
  Output:
    {'CREATED' | 'REPLAYED' | 'DEDUPLICATED', hits, snapshot, wake-ups…}
    {'KEY_REUSED' | 'TOO_MANY' | 'TOO_OFTEN' | 'OVER_QUOTA', hits}
    hits: the user's requests in this minute
  Event:
    state log, the wake-up; nothing on the job's channel, as nobody can know it yet
]]

-- By position: making a table of all fields takes as long as a command.
local id, user, lane, digest = ARGV[first_field + 1], ARGV[first_field + 3], ARGV[first_field + 5],
  ARGV[first_field + 7]
local hits = 0

if args.quota then
  local counter = key.user_rate(user, args.minute)
  hits = redis.call('INCR', counter)
  if hits == 1 then redis.call('EXPIRE', counter, 120) end
  if hits > tonumber(args.quota) then return {'TOO_OFTEN', hits} end
end

local function store_idempotency_key(job_id)
  if args.idempotency then
    local record = key.idempotency(user, args.idempotency)
    redis.call('SET', record, digest .. ' ' .. job_id, 'PX', args.idempotency_ttl)
  end
end

if args.idempotency then
  local first = redis.call('GET', key.idempotency(user, args.idempotency))
  if first then
    if string.sub(first, 1, #digest) ~= digest then return {'KEY_REUSED', hits} end
    local job = load_job(string.sub(first, #digest + 2))
    if job then return {'REPLAYED', hits, cjson.encode(job)} end
  end
end

local active = key.user_active(user)
if redis.call('HSETNX', active, digest, id) == 0 then
  local running = redis.call('HGET', active, digest)
  local job = load_job(running)
  if job then
    store_idempotency_key(running)
    -- The client library sends a command again when it misses the response: same id, same call.
    return {running == id and 'CREATED' or 'DEDUPLICATED', hits, cjson.encode(job)}
  end
  redis.call('HSET', active, digest, id)
end

local active_jobs = redis.call('HLEN', active)
if active_jobs > tonumber(args.max_active) then
  redis.call('HDEL', active, digest)
  return {'TOO_MANY', hits}
end
if args.max_bytes and bytes_today(user) >= tonumber(args.max_bytes) then
  redis.call('HDEL', active, digest)
  return {'OVER_QUOTA', hits}
end

store_idempotency_key(id)
redis.call('SET', key.spec(id), args.spec)
redis.call('ZADD', key.user_jobs(user), now_text, id)
-- It expires when the user has no unfinished job.
if active_jobs == 1 then redis.call('PERSIST', key.user_jobs(user)) end
local line, in_line = user, redis.call('LLEN', key.user_queue(user, lane))
-- The user's queue with the fewest jobs.
for number = 2, tonumber(args.weight or '1') do
  if in_line == 0 then break end
  local other = user .. '#' .. number
  local jobs = redis.call('LLEN', key.user_queue(other, lane))
  if jobs < in_line then line, in_line = other, jobs end
end
local turn = args.turn and to_text(args.turn + in_line * args.round) or ''
-- Not by update_job: reading the hash back and encoding it takes a third of this script's time.
redis.call('HSET', key.status(id), 'version', '1', 'created_at', now_text, 'updated_at', now_text,
  'turn', turn, unpack(ARGV, first_field))
local snapshot = string.sub(args.snapshot, 1, -2) .. ',"version":"1","created_at":"' .. now_text
  .. '","updated_at":"' .. now_text .. '","turn":"' .. turn .. '"}'
if line ~= user then redis.call('HSET', key.status(id), 'line', line) end
redis.call('XADD', key.state_log(), '*', 'job', snapshot)
enqueue(id, line, lane)
return {'CREATED', hits, snapshot, unpack(wake_ups)}
