-- @include change
-- @include hint
-- Accept a job, or find the one that this request made already.
-- Input: args.id, user, digest (of the request), idempotency (key, may be empty), max_active,
--        idempotency_ttl (ms), remembered (jobs kept in the user's list), spec (JSON); fields: the hash.
-- Output: {'CREATED' | 'REPLAYED' | 'DEDUPLICATED', snapshot, hints…}, {'KEY_REUSED'}, {'TOO_MANY'}
-- Event: version 1, journal, the wake-up message.

local id, user = args.id, args.user
local record = key.idempotency(user, args.idempotency)

if args.idempotency ~= '' then
  local first = redis.call('GET', record)
  if first then
    if string.sub(first, 1, #args.digest) ~= args.digest then return {'KEY_REUSED'} end
    local job = load(string.sub(first, #args.digest + 2))
    if job then return {'REPLAYED', cjson.encode(job)} end
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
    return {running == id and 'CREATED' or 'DEDUPLICATED', cjson.encode(job)}
  end
end

if redis.call('ZCARD', key.user_active(user)) >= tonumber(args.max_active) then
  return {'TOO_MANY'}
end

remember(id)
redis.call('SET', key.spec(id), args.spec)
redis.call('HSET', key.user_inflight(user), args.digest, id)
redis.call('ZADD', key.user_active(user), text(now), id)
redis.call('ZADD', key.user_jobs(user), text(now), id)
redis.call('ZREMRANGEBYRANK', key.user_jobs(user), 0, -1 - tonumber(args.remembered))
fields.created_at = text(now)
local snapshot = change(id, fields)
hint(id, user, fields.lane)
return {'CREATED', snapshot, unpack(hints)}
