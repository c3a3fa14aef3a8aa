-- @include args
--[[
  Lists a user's jobs in one state, newest first. They are read here, because a client that filters
  the list itself needs one command for each. One call reads a limited number of them, because the
  store does nothing else meanwhile.

  Input:
    KEYS[1]  the user's user_jobs
    args     user, status ('': any), before (createdAt in ms of the last job on the previous page;
             '': first page), before_id (its id), limit, max_read (jobs that are read)
  Output:
    {'LISTED', createdAt in ms and id of the last job that was read if max_read ended the page, else '',
    job id…}, at most limit (more may follow then); jobs that were deleted are left out
  Event:
    none
]]

local ids = {}
local read, last_at, last_id = 0, '', ''
local before, max_read = tonumber(args.before), tonumber(args.max_read)

local function page(more)
  return {'LISTED', more and last_at or '', more and last_id or '', unpack(ids)}
end

local offset = 0
while true do
  local listed = redis.call('ZREVRANGEBYSCORE', key.user_jobs(args.user),
    before and args.before or '+inf', '-inf', 'WITHSCORES', 'LIMIT', offset, max_read)
  if #listed == 0 then return page(false) end
  for i = 1, #listed, 2 do
    local id, created_at = listed[i], listed[i + 1]
    if not before or tonumber(created_at) < before or id < args.before_id then
      if #ids == tonumber(args.limit) then return page(false) end
      if read == max_read then return page(true) end
      read, last_at, last_id = read + 1, created_at, id
      local status = redis.call('HGET', key.status(id), 'status')
      if status and (args.status == '' or status == args.status) then ids[#ids + 1] = id end
    end
  end
  offset = offset + max_read
end
