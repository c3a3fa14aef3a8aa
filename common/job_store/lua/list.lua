-- @include base
--[[
  Lists a user's jobs in one state, newest first. The whole list is read here, at most 1,000
  finished jobs, because a client that filters it itself needs one command for each.

  Input:
    KEYS[1]  the user's user_jobs
    args     user, status ('': any), before (createdAt in ms of the last job on the previous page;
             '': first page), before_id (its id), limit
  Output:
    {'LISTED', job id…}, at most limit; jobs that were deleted are left out
  Event:
    none
]]

local result = {'LISTED'}
local before = tonumber(args.before)
local listed = redis.call('ZREVRANGEBYSCORE', key.user_jobs(args.user),
  before and args.before or '+inf', '-inf', 'WITHSCORES')
for i = 1, #listed, 2 do
  if #result > tonumber(args.limit) then break end
  local id = listed[i]
  if not before or tonumber(listed[i + 1]) < before or id < args.before_id then
    local status = redis.call('HGET', key.status(id), 'status')
    if status and (args.status == '' or status == args.status) then
      result[#result + 1] = id
    end
  end
end
return result
