-- Now (clause 3.9). KEYS: any index, to say which server. ARGV: clock.
-- Answers it.
return pack('>I8', now)
