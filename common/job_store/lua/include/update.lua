-- @include base
--[[
  update_job(job, changes): writes to the hash of an existing job and returns the new snapshot. `job`
  is the whole hash as load_job returned it, and then has the changes too: reading it again would
  take longer than all other commands. Every write goes through it, except the first, and those of
  `lane` in sweep.lua, `reservations` in claim.lua, and `idempotent` in create.lua: clients do not see
  these, so there is no new version.

  Event:
    version + 1, and the whole snapshot on the job's channel; an entry in the state log when the
    status changed
]]

local function update_job(job, changes)
  job.updated_at, job.version = now_text, to_text(job.version + 1)
  local flat = {'updated_at', job.updated_at, 'version', job.version}
  for field, value in pairs(changes) do
    job[field] = value
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  redis.call('HSET', key.status(job.id), unpack(flat))
  local snapshot = cjson.encode(job)
  redis.call('PUBLISH', key.events(job.id), snapshot)
  if changes.status then redis.call('XADD', key.state_log(), '*', 'job', snapshot) end
  return snapshot
end
