// Package peers measures the stores against other libraries that keep one caller at a time at a key. It is a module of its
// own, so that nobody who uses this one has to have theirs.
package peers
