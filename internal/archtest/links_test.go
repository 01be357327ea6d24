package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLinks follows every link from a page of the repository to a file or a heading of it.
func TestLinks(t *testing.T) {
	t.Parallel()
	pages := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		pages++
		for _, fault := range brokenLinks(t, path) {
			t.Error(fault)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages == 0 {
		t.Error("no pages found")
	}
}

func TestLinksCanFail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "other.md", "# One key, one effect!\n")
	write(t, dir, "page.md", strings.Join([]string{
		"# A `page`",
		"[fine](other.md) [fine](other.md#one-key-one-effect) [fine](#a-page) [fine](https://example.com/x.md)",
		"`[code](nothing.md)`",
		"```\n[code](nothing.md)\n# no heading\n```",
		"[gone](gone.md) [no such heading](other.md#two) [nor here](#no-heading) [by reference][ref]",
		"[ref]: away.md",
	}, "\n"))
	var broken []string
	for _, fault := range brokenLinks(t, filepath.Join(dir, "page.md")) {
		broken = append(broken, fault[strings.LastIndex(fault, " ")+1:])
	}
	if want := []string{"gone.md", "other.md#two", "#no-heading", "away.md"}; !slices.Equal(broken, want) {
		t.Errorf("broken links %q, want %q", broken, want)
	}
}

var (
	codeBlock  = regexp.MustCompile("(?ms)^```.*?^```")
	codeSpan   = regexp.MustCompile("`[^`\n]*`")
	link       = regexp.MustCompile(`\]\(([^()\s]+)\)|(?m:^\[[^\]]+\]:\s+(\S+))`)
	heading    = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	notInSlugs = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// brokenLinks returns the links of a page that lead nowhere; what has a scheme is somebody else's.
func brokenLinks(t *testing.T, page string) (broken []string) {
	t.Helper()
	text := codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(read(t, page), ""), "")
	for _, match := range link.FindAllStringSubmatch(text, -1) {
		target := match[1] + match[2]
		if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		name, anchor, _ := strings.Cut(target, "#")
		file := page
		if name != "" {
			file = filepath.Join(filepath.Dir(page), name)
		}
		if _, err := os.Stat(file); err != nil || anchor != "" && !slices.Contains(anchors(t, file), anchor) {
			broken = append(broken, page+" links to "+target)
		}
	}
	return broken
}

// anchors returns the names under which the headings of a page can be linked to: lower case, spaces as hyphens,
// without punctuation.
func anchors(t *testing.T, page string) (names []string) {
	t.Helper()
	for _, match := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(read(t, page), ""), -1) {
		slug := notInSlugs.ReplaceAllString(strings.ToLower(match[1]), "")
		names = append(names, strings.ReplaceAll(slug, " ", "-"))
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
