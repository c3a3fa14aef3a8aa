-- @include base
-- change(id, fields): the only way to write a job's hash once it is there.
-- Event: version + 1 and the whole snapshot on the job's channel; an entry in the journal when the
-- state changed. Returns the snapshot.

local function change(id, set)
  local name = key.status(id)
  local flat = {'updated_at', moment}
  for field, value in pairs(set) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  redis.call('HSET', name, unpack(flat))
  redis.call('HINCRBY', name, 'version', 1)
  local snapshot = cjson.encode(load(id))
  redis.call('PUBLISH', key.events(id), snapshot)
  if set.status then redis.call('XADD', key.state_log(), '*', 'job', snapshot) end
  return snapshot
end
