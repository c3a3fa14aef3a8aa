-- @include fields
-- @include hint
-- Accept a job, or find the one that this request made already.
-- Input: args.spec (JSON), snapshot (the fields as a JSON object), max_active, idempotency_ttl (ms);
--        where there is a key: idempotency; where requests are counted: quota (how often the user
--        may ask within a minute) and minute;
--        fields: the hash, but for its version and times; fields.digest: of the request
-- Output: {'CREATED' | 'REPLAYED' | 'DEDUPLICATED', hits, snapshot, hints…},
--         {'KEY_REUSED' | 'TOO_MANY' | 'TOO_OFTEN', hits}; hits: in this minute
-- Event: an entry in the journal, the wake-up message. Nobody can know the job's channel yet.

local id, user, digest = fields.id, fields.user, fields.digest
local hits = 0

if args.quota then
  local counter = key.user_rate(user, args.minute)
  hits = redis.call('SET', counter, 1, 'EX', 120, 'NX') and 1 or redis.call('INCR', counter)
  if hits > tonumber(args.quota) then return {'TOO_OFTEN', hits} end
end

local function remember(job_id)
  if args.idempotency then
    local record = key.idempotency(user, args.idempotency)
    redis.call('SET', record, digest .. ' ' .. job_id, 'PX', args.idempotency_ttl)
  end
end

if args.idempotency then
  local first = redis.call('GET', key.idempotency(user, args.idempotency))
  if first then
    if string.sub(first, 1, #digest) ~= digest then return {'KEY_REUSED', hits} end
    local job = load(string.sub(first, #digest + 2))
    if job then return {'REPLAYED', hits, cjson.encode(job)} end
  end
end

local active = key.user_active(user)
if redis.call('HSETNX', active, digest, id) == 0 then
  local running = redis.call('HGET', active, digest)
  local job = load(running)
  if job then
    remember(running)
    -- The client library sends again when an answer is lost: that is the same call, not another.
    return {running == id and 'CREATED' or 'DEDUPLICATED', hits, cjson.encode(job)}
  end
  redis.call('HSET', active, digest, id)
end

if redis.call('HLEN', active) > tonumber(args.max_active) then
  redis.call('HDEL', active, digest)
  return {'TOO_MANY', hits}
end

remember(id)
redis.call('SET', key.spec(id), args.spec)
redis.call('ZADD', key.user_jobs(user), moment, id)
-- Not by change(): reading the hash back and making JSON of it would cost a third of all this.
redis.call('HSET', key.status(id), 'version', '1', 'created_at', moment, 'updated_at', moment,
  unpack(ARGV, first_field))
local snapshot = string.sub(args.snapshot, 1, -2) .. ',"version":"1","created_at":"' .. moment
  .. '","updated_at":"' .. moment .. '"}'
redis.call('XADD', key.state_log(), '*', 'job', snapshot)
hint(id, user, fields.lane)
return {'CREATED', hits, snapshot, unpack(hints)}
