-- leased -> waiting, at its old place. A skip remembers who skipped. Returns 1, or the state that stands against it.
-- ARGV now, id, token, reviewer who skips or ''
local item = fields(ARGV[2], 's', 't', 'p', 'i', 'x')
if item.s ~= 'leased' or item.t ~= ARGV[3] then return item.s or 'gone' end
if ARGV[4] ~= '' then
  local names = {ARGV[4]}
  for name in string.gmatch(item.x or '', '[^%z]+') do
    if name ~= ARGV[4] then names[#names + 1] = name end
  end
  table.sort(names)  -- whoever skips in whatever order, it is one lane
  item.x = '\0' .. table.concat(names, '\0') .. '\0'
  redis.call('HSET', item_key(ARGV[2]), 'x', item.x)
end
give_back(ARGV[2], item)
return 1
