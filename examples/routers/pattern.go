package routers

import (
	"net/http"

	"github.com/gorilla/mux"
)

// Pattern is the pattern that chi, Echo and Gin of this package, or http.ServeMux have matched, for idemhttp.WithRoute; the
// path where none has yet.
func Pattern(r *http.Request) string {
	if r.Pattern == "" {
		return r.URL.Path
	}
	return r.Pattern
}

// GorillaPattern is the same for gorilla/mux.
func GorillaPattern(r *http.Request) string {
	if route := mux.CurrentRoute(r); route != nil {
		if pattern, err := route.GetPathTemplate(); err == nil {
			return pattern
		}
	}
	return r.URL.Path
}
