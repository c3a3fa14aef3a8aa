-- @include change
-- @include hint
-- Accept a job, or find the one that this request made already.
-- Input: args.id, user, lane, digest (of the request), idempotency (key, may be empty), max_active,
--        idempotency_ttl (ms), remembered (jobs kept in the user's list), spec (JSON), minute and
--        quota (how often the user may ask within it; empty: not counted);
--        fields: the hash; args.snapshot: the same as a JSON object.
-- Output: {'CREATED' | 'REPLAYED' | 'DEDUPLICATED', hits, snapshot, hints…},
--         {'KEY_REUSED' | 'TOO_MANY' | 'TOO_OFTEN', hits}; hits: in this minute
-- Event: version 1, journal, the wake-up message.

local id, user = args.id, args.user
local record = key.idempotency(user, args.idempotency)
local hits = 0

if args.quota ~= '' then
  local counter = key.user_rate(user, args.minute)
  hits = redis.call('INCR', counter)
  if hits == 1 then redis.call('EXPIRE', counter, 120) end
  if hits > tonumber(args.quota) then return {'TOO_OFTEN', hits} end
end

if args.idempotency ~= '' then
  local first = redis.call('GET', record)
  if first then
    if string.sub(first, 1, #args.digest) ~= args.digest then return {'KEY_REUSED', hits} end
    local job = load(string.sub(first, #args.digest + 2))
    if job then return {'REPLAYED', hits, cjson.encode(job)} end
  end
end

local function remember(job_id)
  if args.idempotency ~= '' then
    redis.call('SET', record, args.digest .. ' ' .. job_id, 'PX', args.idempotency_ttl)
  end
end

local running = redis.call('HGET', key.user_inflight(user), args.digest)
if running then
  local job = load(running)
  if job then
    remember(running)
    -- The client library sends again when an answer is lost: that is the same call, not another.
    return {running == id and 'CREATED' or 'DEDUPLICATED', hits, cjson.encode(job)}
  end
end

if redis.call('ZCARD', key.user_active(user)) >= tonumber(args.max_active) then
  return {'TOO_MANY', hits}
end

remember(id)
local created = text(now)
redis.call('SET', key.spec(id), args.spec)
redis.call('HSET', key.user_inflight(user), args.digest, id)
redis.call('ZADD', key.user_active(user), created, id)
redis.call('ZADD', key.user_jobs(user), created, id)
redis.call('ZREMRANGEBYRANK', key.user_jobs(user), 0, -1 - args.remembered)
-- Not by change(): reading the hash back and making JSON of it would cost a third of all this.
redis.call('HSET', key.status(id), 'version', '1', 'created_at', created, 'updated_at', created,
  unpack(ARGV, first_field))
local snapshot = string.sub(args.snapshot, 1, -2) .. ',"version":"1","created_at":"' .. created
  .. '","updated_at":"' .. created .. '"}'
announce(id, '1', snapshot, true)
hint(id, user, args.lane)
return {'CREATED', hits, snapshot, unpack(hints)}
