-- The end of put.lua, behind bury.lua: drops dead entries, at most so many of each index. In flight it looks at entries that were
-- touched longer ago than this claim is to live: nearly always they are dead. Those that live on do not stand in the way,
-- for it looks elsewhere each turn. The claim stands, whatever becomes of this; only turn -1, a rehearsal, wants to know.
local ok, why = pcall(function()
  local most, before = tonumber(ARGV[7]), now - ttl
  bury(KEYS[2], call('ZRANGEBYSCORE', KEYS[2], 0, now, 'LIMIT', 0, most), DONE, now)
  local old = call('ZCOUNT', KEYS[1], 0, before)
  if old > 0 then
    bury(KEYS[1], call('ZRANGEBYSCORE', KEYS[1], 0, before, 'LIMIT', ARGV[8] * most % old, most), IN_FLIGHT, now)
  end
end)
if not ok and ARGV[8] == '-1' then
  return type(why) == 'table' and why or redis.error_reply(why)
end
return table.concat(answers)
