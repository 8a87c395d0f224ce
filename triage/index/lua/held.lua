-- How many items a reviewer has. ARGV now, reviewer
local count = 0
for _, id in ipairs(redis.call('ZRANGE', Q .. 'leases', 0, -1)) do
  local item = fields(id, 's', 'w')
  if item.s == 'leased' and item.w == ARGV[2] then count = count + 1 end
end
return count
