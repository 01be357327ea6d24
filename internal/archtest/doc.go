// Package archtest holds the tests of the house itself: which room may import which, what go.mod may say, what a
// consumer's go.mod and go.sum end up with, and that links between the pages resolve.
package archtest
