// Package routers shows package idemhttp under four routers: take what you need into your own code.
//
// A router whose middleware is a func(http.Handler) http.Handler takes the guard as it is:
//
//	guard := idemhttp.Middleware(manager, idemhttp.Principal(account), idemhttp.WithRoute(routers.Pattern))
//	chiRouter.With(guard).Post("/accounts/{id}/charges", charge)
//	gorillaSubrouter.Use(guard) // WithRoute(routers.GorillaPattern)
//
// echo and gin have handlers and middlewares of their own:
//
//	echoServer.POST("/accounts/:id/charges", charge, routers.Echo(guard))
//	ginEngine.POST("/accounts/:id/charges", routers.Gin(guard), charge)
//
// With WithRoute a key belongs to the pattern and not to the path, so a client that uses it for a second path of the same
// pattern is refused. It needs a guard that runs when the route is known: chi.Mux.Use at the top is too early.
//
// Why not echo.WrapMiddleware: a handler of echo returns its error, and the response to it is written when all middlewares
// have returned. The guard would have recorded an empty 200.
package routers
