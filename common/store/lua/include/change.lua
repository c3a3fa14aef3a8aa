-- @include base
-- change(id, fields): the only way to write a job's hash once it is there.
-- announce(id, version, snapshot, entered): tells of what was written; entered: a new state.
-- Event: version + 1 and the whole snapshot on the job's channel; an entry in the journal when the
-- state changed. Returns the snapshot.

local function announce(id, version, snapshot, entered)
  redis.call('PUBLISH', key.events(id), snapshot)
  if entered then
    redis.call('XADD', key.journal(), '*', 'id', id, 'version', version, 'job', snapshot)
  end
end

local function change(id, set)
  local name = key.status(id)
  local flat = {'updated_at', text(now)}
  for field, value in pairs(set) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  redis.call('HSET', name, unpack(flat))
  redis.call('HINCRBY', name, 'version', 1)
  local job = load(id)
  local snapshot = cjson.encode(job)
  announce(id, job.version, snapshot, set.status)
  return snapshot
end
