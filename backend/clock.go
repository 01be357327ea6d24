package backend

import "time"

// Clock returns a store's clock: UTC, whole microseconds. A nil source is the process's own: the wall clock at this
// call, carried on by the monotonic clock, so that setting the wall clock neither kills nor revives a holder. It
// follows the fake clock of a testing/synctest bubble when Clock is called inside it.
func Clock(source func() time.Time) func() time.Time {
	if source == nil {
		start := time.Now()
		// Durations are cheaper to cut than times: the wall clock is cut once, and what was cut off goes with the rest.
		wall := start.UTC().Truncate(time.Microsecond)
		rest := time.Duration(start.Nanosecond() % 1000)
		return func() time.Time { return wall.Add((time.Since(start) + rest).Truncate(time.Microsecond)) }
	}
	return func() time.Time { return source().UTC().Truncate(time.Microsecond) }
}
