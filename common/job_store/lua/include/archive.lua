-- @include clock
--[[
  let_archive_go(job): the job does not need its archive any more. A worker deletes the object when no
  other job needs it.
]]

local function let_archive_go(job)
  if (job.artifact or '') == '' then return end
  local artifact = cjson.decode(job.artifact)
  redis.call('ZADD', key.removals(), now_text, artifact.bucket .. '/' .. artifact.key)
  note_clock()
end
