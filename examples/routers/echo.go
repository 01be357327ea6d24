package routers

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v5"
)

type echoKey struct{}

// Echo makes a middleware of echo out of guard, which is asked for its handler once for each route. An error of the handler
// becomes a response by echo's error handler inside of the guard, so that it is recorded or released like any other, and what
// is around sees the response and no error.
func Echo(guard func(http.Handler) http.Handler) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		guarded := guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := r.Context().Value(echoKey{}).(*echo.Context)
			response := c.Response()
			defer c.SetResponse(response)
			c.SetRequest(r)
			c.SetResponse(echo.NewResponse(w, c.Logger()))
			if err := next(c); err != nil {
				c.Echo().HTTPErrorHandler(c, err)
			}
		}))
		return func(c *echo.Context) error {
			r := c.Request()
			defer c.SetRequest(r)
			guarded.ServeHTTP(c.Response(), within(r, echoKey{}, c, c.Path()))
			return nil
		}
	}
}

// within returns r with the router's context and the pattern that it matched.
func within(r *http.Request, key, c any, pattern string) *http.Request {
	r = r.WithContext(context.WithValue(r.Context(), key, c))
	r.Pattern = pattern
	return r
}
