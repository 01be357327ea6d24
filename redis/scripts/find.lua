-- Find (clause 3.3).
-- KEYS: entries. ARGV: clock.
-- Answers now, and for each entry KEPT, NO, FAILED or AGAIN.
local answers, size = {pack('>I8', now)}, 0
for i, entry in ipairs(KEYS) do
  local answer = AGAIN
  if size < BYTES then
    local old = pcall_('GET', entry)
    answer = NO
    if type(old) == 'string' then
      local _, _, _, touched, ttl = parse(HEAD, old)
      if now < touched + ttl then
        answer = KEPT .. pack('>I4c0', #old, old)
        size = size + #old
      end
    elseif old then
      answer = FAILED .. pack('>I4c0', #old.err, old.err)
    end
  end
  answers[i + 1] = answer
end
return table.concat(answers)
