// Package bench measures each store against its floor in the same run; see bench in the Makefile.
package bench
