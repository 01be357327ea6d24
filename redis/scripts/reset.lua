-- CompareAndReset (clause 3.5).
-- KEYS: flights, the entry.
-- ARGV: clock, expected holder, cutoff (us, or empty), mark of being watched, command to tell by.
-- Answers now, and YES or NO.
local entry, stamp = KEYS[2], pack('>I8', now)
local old = call('GET', entry)
if not old then
  return stamp .. NO
end
local status, _, _, touched, ttl, holder = parse(HEAD, old)
if now >= touched + ttl or status ~= IN_FLIGHT or holder ~= ARGV[2] or (ARGV[3] ~= '' and touched >= tonumber(ARGV[3])) then
  return stamp .. NO
end
call('UNLINK', entry)
call('ZREM', KEYS[1], sub(entry, #KEYS[1] + 1))
if ARGV[4] ~= '' and pcall_('EXISTS', ARGV[4]) ~= 0 then
  pcall_(ARGV[5], entry, '')
end
return stamp .. YES
