-- @include clock
--[[
  schedule_removal(job): the job no longer needs its archive. A worker deletes the object when no other
  job needs it.
]]

local function schedule_removal(job)
  if (job.artifact or '') == '' then return end
  local artifact = cjson.decode(job.artifact)
  redis.call('ZADD', key.removals(), now_text, artifact.bucket .. '/' .. artifact.key)
  note_time_if_due()
end
