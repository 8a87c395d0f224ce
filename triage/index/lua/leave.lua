-- leased -> waiting for all that some reviewers have: they left. Burns no attempt. Returns how many.
-- ARGV now, names...
local gone, returned = {}, 0
for at = 2, #ARGV do gone[ARGV[at]] = true end
for _, id in ipairs(redis.call('ZRANGE', Q .. 'leases', 0, -1)) do
  local item = fields(id, 's', 'w', 'p', 'i', 'x')
  if item.s == 'leased' and gone[item.w] then
    give_back(id, item)
    returned = returned + 1
  end
end
return returned
