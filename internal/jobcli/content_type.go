package jobcli

import (
	"path/filepath"
	"strings"
)

// contentTypes are the types of common build products, as
// internal/mime/mime.go of buildkite-agent v3.138.1 has them; gzip (RFC 6713)
// and Markdown (RFC 7763), which it leaves to the system, are added. The
// system's own tables are not asked, so that a build is alike everywhere.
var contentTypes = map[string]string{
	".7z":    "application/x-7z-compressed",
	".apk":   "application/vnd.android.package-archive",
	".asc":   "application/pgp-signature",
	".atom":  "application/atom+xml",
	".avi":   "video/x-msvideo",
	".avif":  "image/avif",
	".bat":   "application/x-msdownload",
	".bin":   "application/octet-stream",
	".bmp":   "image/x-ms-bmp",
	".bz2":   "application/x-bzip2",
	".c":     "text/x-c",
	".cc":    "text/x-c",
	".class": "application/java-vm",
	".conf":  "text/plain",
	".cpp":   "text/x-c",
	".crt":   "application/x-x509-ca-cert",
	".css":   "text/css",
	".csv":   "text/csv",
	".deb":   "application/octet-stream",
	".dmg":   "application/octet-stream",
	".doc":   "application/msword",
	".docx":  "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".dtd":   "application/xml-dtd",
	".dump":  "application/octet-stream",
	".eot":   "application/vnd.ms-fontobject",
	".exe":   "application/octet-stream",
	".flac":  "audio/x-flac",
	".gif":   "image/gif",
	".gz":    "application/gzip",
	".h":     "text/x-c",
	".htm":   "text/html",
	".html":  "text/html",
	".ico":   "image/x-icon",
	".ics":   "text/calendar",
	".img":   "application/octet-stream",
	".iso":   "application/octet-stream",
	".jar":   "application/java-archive",
	".java":  "text/x-java-source",
	".jpeg":  "image/jpeg",
	".jpg":   "image/jpeg",
	".js":    "application/javascript",
	".json":  "application/json",
	".log":   "text/plain",
	".md":    "text/markdown",
	".mjs":   "text/javascript",
	".mkv":   "video/x-matroska",
	".mov":   "video/quicktime",
	".mp3":   "audio/mpeg",
	".mp4":   "video/mp4",
	".mpeg":  "video/mpeg",
	".msi":   "application/octet-stream",
	".ogg":   "audio/ogg",
	".otf":   "font/otf",
	".pdf":   "application/pdf",
	".pem":   "application/x-x509-ca-cert",
	".pkg":   "application/octet-stream",
	".pl":    "application/x-perl",
	".png":   "image/png",
	".ppt":   "application/vnd.ms-powerpoint",
	".pptx":  "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".ps":    "application/postscript",
	".rpm":   "application/x-redhat-package-manager",
	".rss":   "application/rss+xml",
	".rtf":   "application/rtf",
	".sh":    "application/x-sh",
	".sig":   "application/pgp-signature",
	".so":    "application/octet-stream",
	".sql":   "application/x-sql",
	".svg":   "image/svg+xml",
	".tar":   "application/x-tar",
	".tex":   "application/x-tex",
	".text":  "text/plain",
	".tgz":   "application/gzip",
	".tif":   "image/tiff",
	".tiff":  "image/tiff",
	".tsv":   "text/tab-separated-values",
	".ttf":   "font/ttf",
	".txt":   "text/plain",
	".war":   "application/java-archive",
	".wasm":  "application/wasm",
	".wav":   "audio/x-wav",
	".webm":  "video/webm",
	".webp":  "image/webp",
	".woff":  "font/woff",
	".woff2": "font/woff2",
	".xhtml": "application/xhtml+xml",
	".xls":   "application/vnd.ms-excel",
	".xlsx":  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".xml":   "text/xml",
	".xsl":   "application/xml",
	".xz":    "application/x-xz",
	".yaml":  "text/yaml",
	".yml":   "text/yaml",
	".zip":   "application/zip",
	".zst":   "application/zstd",
}

// contentType is the given type or else that of the name's extension.
func contentType(given, name string) string {
	if given != "" {
		return given
	}
	if t, ok := contentTypes[strings.ToLower(filepath.Ext(name))]; ok {
		return t
	}
	return "binary/octet-stream"
}
