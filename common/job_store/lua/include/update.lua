-- @include base
--[[
  update_job(id, changes): writes to the hash of an existing job and returns the new snapshot. Every
  write goes through it, except the first, and those of `lane` in sweep.lua, `reservations` in
  claim.lua, and `idempotent` in create.lua: clients do not see these, so there is no new version.

  Event:
    version + 1, and the whole snapshot on the job's channel; an entry in the state log when the
    status changed
]]

local function update_job(id, changes)
  local name = key.status(id)
  local flat = {'updated_at', now_text}
  for field, value in pairs(changes) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  redis.call('HSET', name, unpack(flat))
  redis.call('HINCRBY', name, 'version', 1)
  local snapshot = cjson.encode(load_job(id))
  redis.call('PUBLISH', key.events(id), snapshot)
  if changes.status then redis.call('XADD', key.state_log(), '*', 'job', snapshot) end
  return snapshot
end
