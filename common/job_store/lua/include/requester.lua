-- @include args
--[[
  requested_by(job): who asks for a change of the job, for operators; without a name, which an erasure
    would have to find

  Input:
    args.requester    the user, if known
    args.is_operator  whether it is an operator
]]

local function requested_by(job)
  if args.requester == job.user then return 'by its owner' end
  if args.is_operator then return 'by an operator' end
  return args.requester and 'by another user' or ''
end
