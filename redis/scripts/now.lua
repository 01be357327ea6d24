-- Now (clause 3.9). KEYS: any index, to say which server. ARGV: clock.
-- Answers microseconds since 1970.
return digits(clock(ARGV[1]))
