// Package bolt keeps claims and results in a bbolt file.
package bolt
