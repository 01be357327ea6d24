-- The layout of all entries below a prefix, agreed upon by whoever comes first.
-- KEYS: where it is written. ARGV: clock, the caller's layout, command to tell by.
-- Answers whether the server lets the command through (1, 0), and the layout that counts.
local told = 1
if ARGV[3] ~= '' then
  local sent = redis.pcall(ARGV[3], KEYS[1], '')
  if type(sent) == 'table' then
    told = 0
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'NX')
return told .. redis.call('GET', KEYS[1])
