-- @include args
--[[
  Finds jobs of one partition for operators, newest first. There is no index of all jobs by their
  creation, because every new job would pay for it: what is read here is the sets that the queue
  needs anyway, and a limited number of their jobs.

  Input:
    KEYS[1]  the partition's leases
    args     limit, max_read (jobs that are read); finished ('1': also the newest finished jobs);
             user (only the jobs in this user's list); before (createdAt in ms of the last job on the
             previous page) and before_id (its id); the conditions, each of which may be missing:
             statuses and priorities (comma-separated), error_code, from and to (ms; created from
             then, and before then), prefix (of the id)
  Output:
    {'FOUND', '1' if there are more jobs than max_read, createdAt in ms and id of each…}
  Event:
    none
]]

local found, seen = {}, {}
local read, is_partial = 0, ''
local before, from, to = tonumber(args.before), tonumber(args.from), tonumber(args.to)
local max_read = tonumber(args.max_read)

local function meets_conditions(id, created_at, status, priority, error_code)
  return not (before and (created_at > before or created_at == before and id >= args.before_id))
    and not (from and created_at < from)
    and not (to and created_at >= to)
    and (not args.statuses or contains(args.statuses, status))
    and (not args.priorities or contains(args.priorities, priority))
    and (not args.error_code or args.error_code == error_code)
end

local function read_job(id)
  if seen[id] then return end
  seen[id] = true
  if args.prefix and string.sub(id, 1, #args.prefix) ~= args.prefix then return end
  local job = redis.call('HMGET', key.status(id), 'created_at', 'status', 'priority', 'error_code')
  local created_at = tonumber(job[1] or '')
  if created_at and meets_conditions(id, created_at, job[2], job[3], job[4]) then
    found[#found + 1] = {created_at, id}
  end
end

local function read_set(name, latest)
  local left = max_read - read
  local ids = redis.call(
    'ZRANGE', name, latest or '+inf', '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, left + 1)
  for i = 1, math.min(left, #ids) do read_job(ids[i]) end
  read = read + math.min(left, #ids)
  if #ids > left then is_partial = '1' end
end

if args.user then
  read_set(key.user_jobs(args.user), args.before or args.to)
else
  read_set(key.leases())
  read_set(key.retries())
  for _, priority in ipairs({'high', 'normal', 'low'}) do read_set(key.waiting(priority)) end
  if args.finished then
    read_set(key.failures())
    read_set(key.dead_letters())
    read_set(key.expiring())
  end
end

table.sort(found, function(one, other)
  if one[1] ~= other[1] then return one[1] > other[1] end
  return one[2] > other[2]
end)
local result = {'FOUND', is_partial}
for i = 1, math.min(#found, tonumber(args.limit)) do
  result[#result + 1] = to_text(found[i][1])
  result[#result + 1] = found[i][2]
end
return result
