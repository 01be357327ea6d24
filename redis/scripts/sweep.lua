-- SweepExpired (clause 3.8), one batch of one shard.
-- KEYS: the index. ARGV: clock, end (us), most entries.
-- Answers how many were removed.
local n = bury(KEYS[1], math.min(clock(ARGV[1]), tonumber(ARGV[2])), ARGV[3])
if type(n) == 'table' then
  return n
end
return tostring(n)
