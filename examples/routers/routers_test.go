package routers_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/mux"
	"github.com/labstack/echo/v5"
	echomiddleware "github.com/labstack/echo/v5/middleware"

	"go.aimon.at/idempotency"
	"go.aimon.at/idempotency/examples/routers"
	"go.aimon.at/idempotency/idemhttp"
	"go.aimon.at/idempotency/memory"
)

func init() { gin.SetMode(gin.ReleaseMode) }

// service is the same in each router: charges and refunds of an account, and what a request asks for by its body.
type service struct {
	ran   atomic.Int64
	begun chan struct{} // "slow" says that it has begun,
	goOn  chan struct{} // and waits
	once  sync.Once
}

// do is the work of a handler: its status and, where there is one, its body.
func (s *service) do(what, account, body string) (int, string) {
	n := s.ran.Add(1)
	switch body {
	case "panic":
		panic("asked to")
	case "declined":
		return http.StatusPaymentRequired, "declined"
	case "down":
		return http.StatusServiceUnavailable, "down"
	case "nothing":
		return http.StatusNoContent, ""
	case "slow":
		s.once.Do(func() { close(s.begun) })
		<-s.goOn
	}
	return http.StatusCreated, fmt.Sprintf("%s of account %s: run %d, %s", what, account, n, body)
}

type guard = func(http.Handler) http.Handler

var quiet = slog.New(slog.DiscardHandler)

// Each router guards POST /accounts/{id}/charges and …/refunds, fails in its own way, and recovers from panics.
var services = map[string]func(s *service, guarded func(route func(*http.Request) string) guard) http.Handler{
	"chi": func(s *service, guarded func(func(*http.Request) string) guard) http.Handler {
		handle := func(what string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { plain(s, w, r, what, chi.URLParam(r, "id")) }
		}
		mux := chi.NewRouter()
		mux.Use(chimiddleware.Recoverer)
		mux.Route("/accounts/{id}", func(r chi.Router) {
			r = r.With(guarded(routers.Pattern))
			r.Post("/charges", handle("charge"))
			r.Post("/refunds", handle("refund"))
		})
		return mux
	},
	"gorilla": func(s *service, guarded func(func(*http.Request) string) guard) http.Handler {
		handle := func(what string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { plain(s, w, r, what, mux.Vars(r)["id"]) }
		}
		router := mux.NewRouter()
		accounts := router.PathPrefix("/accounts/{id}").Subrouter()
		accounts.Use(chimiddleware.Recoverer, guarded(routers.GorillaPattern))
		accounts.HandleFunc("/charges", handle("charge")).Methods(http.MethodPost)
		accounts.HandleFunc("/refunds", handle("refund")).Methods(http.MethodPost)
		return router
	},
	"echo": func(s *service, guarded func(func(*http.Request) string) guard) http.Handler {
		handle := func(what string) echo.HandlerFunc {
			return func(c *echo.Context) error {
				body, err := io.ReadAll(c.Request().Body)
				if err != nil {
					return err
				}
				status, text := s.do(what, c.Param("id"), string(body))
				switch {
				case status >= 400:
					return echo.NewHTTPError(status, text)
				case text == "":
					return c.NoContent(status)
				default:
					return c.String(status, text)
				}
			}
		}
		e := echo.New()
		e.Logger = quiet
		e.Use(echomiddleware.Recover())
		group := e.Group("/accounts/:id", routers.Echo(guarded(routers.Pattern)))
		group.POST("/charges", handle("charge"))
		group.POST("/refunds", handle("refund"))
		return e
	},
	"gin": func(s *service, guarded func(func(*http.Request) string) guard) http.Handler {
		handle := func(what string) gin.HandlerFunc {
			return func(c *gin.Context) {
				body, err := io.ReadAll(c.Request.Body)
				if err != nil {
					c.AbortWithStatus(http.StatusBadRequest)
					return
				}
				status, text := s.do(what, c.Param("id"), string(body))
				switch {
				case status >= 400:
					c.AbortWithStatusJSON(status, gin.H{"message": text})
				case text == "":
					c.Status(status)
				default:
					c.String(status, "%s", text)
				}
			}
		}
		engine := gin.New()
		engine.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) {
			c.AbortWithStatus(http.StatusInternalServerError)
		}))
		group := engine.Group("/accounts/:id", routers.Gin(guarded(routers.Pattern)))
		group.POST("/charges", handle("charge"))
		group.POST("/refunds", handle("refund"))
		return engine
	},
}

// plain is a handler of net/http.
func plain(s *service, w http.ResponseWriter, r *http.Request, what, account string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "no body", http.StatusBadRequest)
		return
	}
	status, text := s.do(what, account, string(body))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// everywhere runs a test in each router, over real connections.
func everywhere(t *testing.T, test func(t *testing.T, s *service, url string)) {
	t.Helper()
	t.Parallel()
	for name, router := range services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := idempotency.New(memory.New(), idempotency.WithLogger(quiet))
			s := &service{begun: make(chan struct{}), goOn: make(chan struct{})}
			server := httptest.NewUnstartedServer(router(s, func(route func(*http.Request) string) guard {
				return idemhttp.Middleware(m, idemhttp.Unscoped, idemhttp.WithRoute(route), idemhttp.WithLogger(quiet))
			}))
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			server.Start()
			t.Cleanup(func() {
				server.Close()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := m.Close(ctx); err != nil {
					t.Error(err)
				}
			})
			test(t, s, server.URL)
		})
	}
}

type answer struct {
	status   int
	body     string
	replayed bool
}

func post(t *testing.T, url, key, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(idemhttp.KeyHeader, key)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(b), resp.Header.Get(idemhttp.ReplayedHeader) == "true"}
}

// TestReplay: a repeat gets the recorded response, a success, one without a body, or the failure that the router made of an
// error.
func TestReplay(t *testing.T) {
	everywhere(t, func(t *testing.T, s *service, url string) {
		for body, status := range map[string]int{"money": http.StatusCreated, "nothing": http.StatusNoContent, "declined": http.StatusPaymentRequired} {
			before := s.ran.Load()
			first := post(t, url+"/accounts/7/charges", body, body)
			if first.status != status || first.replayed {
				t.Errorf("%s: first %+v, want %d", body, first, status)
			}
			if body == "money" && !strings.HasPrefix(first.body, "charge of account 7: run ") || body == "declined" && !strings.Contains(first.body, "declined") {
				t.Errorf("%s: the handler wrote something else than %q", body, first.body)
			}
			first.replayed = true
			if again := post(t, url+"/accounts/7/charges", body, body); again != first {
				t.Errorf("%s: again %+v, want %+v", body, again, first)
			}
			if n := s.ran.Load() - before; n != 1 {
				t.Errorf("%s: ran %d times", body, n)
			}
		}
	})
}

// TestConflict: another payload under the key is refused, and so is, since the key belongs to the pattern, another path.
// Another pattern has keys of its own.
func TestConflict(t *testing.T) {
	everywhere(t, func(t *testing.T, s *service, url string) {
		post(t, url+"/accounts/7/charges", "k", "money")
		if a := post(t, url+"/accounts/7/charges", "k", "more money"); a.status != http.StatusUnprocessableEntity {
			t.Errorf("another payload: %+v", a)
		}
		if a := post(t, url+"/accounts/8/charges", "k", "money"); a.status != http.StatusUnprocessableEntity {
			t.Errorf("another path of the pattern: %+v", a)
		}
		if a := post(t, url+"/accounts/7/refunds", "k", "money"); a.status != http.StatusCreated || a.replayed {
			t.Errorf("another pattern: %+v", a)
		}
		if n := s.ran.Load(); n != 2 {
			t.Errorf("ran %d times, want 2", n)
		}
	})
}

// TestInFlight: a duplicate of a request that runs is refused, and gets the response later.
func TestInFlight(t *testing.T) {
	everywhere(t, func(t *testing.T, s *service, url string) {
		first := make(chan answer, 1)
		go func() { first <- post(t, url+"/accounts/7/charges", "k", "slow") }()
		<-s.begun
		if a := post(t, url+"/accounts/7/charges", "k", "slow"); a.status != http.StatusConflict {
			t.Errorf("while it runs: %+v", a)
		}
		close(s.goOn)
		want := <-first
		want.replayed = true
		if a := post(t, url+"/accounts/7/charges", "k", "slow"); a != want || a.status != http.StatusCreated {
			t.Errorf("then: %+v, want %+v", a, want)
		}
	})
}

// TestRelease: after a panic, and after a failure that is no result, a repeat runs again, and the router's own answers reach the
// client.
func TestRelease(t *testing.T) {
	everywhere(t, func(t *testing.T, s *service, url string) {
		for body, status := range map[string]int{"panic": http.StatusInternalServerError, "down": http.StatusServiceUnavailable} {
			before := s.ran.Load()
			for range 2 {
				if a := post(t, url+"/accounts/7/charges", body, body); a.status != status || a.replayed {
					t.Errorf("%s: %+v, want %d", body, a, status)
				}
			}
			if n := s.ran.Load() - before; n != 2 {
				t.Errorf("%s: ran %d times, want 2", body, n)
			}
		}
	})
}
