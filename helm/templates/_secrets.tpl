{{/* Where each of the three secrets comes from; what cannot work is refused with the way to mend it. */}}

{{- define "corral.databaseUrl" -}}
{{- if .Values.postgresql.enabled -}}
{{- printf "postgresql://corral:%s@%s-postgresql/corral" .Values.postgresql.password (include "corral.fullname" .) -}}
{{- else -}}
{{- .Values.database.url -}}
{{- end -}}
{{- end -}}

{{- define "corral.redisUrl" -}}
{{- if .Values.redis.enabled -}}
{{- $login := ternary (printf ":%s@" .Values.redis.password) "" (ne .Values.redis.password "") -}}
{{- printf "redis://%s%s-redis:6379/0" $login (include "corral.fullname" .) -}}
{{- else -}}
{{- .Values.redis.url -}}
{{- end -}}
{{- end -}}

{{/* (list $ value key-of-the-existing-secret key-of-our-secret): a secretKeyRef */}}
{{- define "corral.secretRef" -}}
{{- $ := index . 0 -}}
{{- if index . 1 -}}
name: {{ include "corral.fullname" $ }}
key: {{ index . 3 }}
{{- else -}}
name: {{ $.Values.secrets.existingSecret }}
key: {{ index . 2 }}
{{- end -}}
{{- end -}}

{{- define "corral.databaseRef" -}}
{{- include "corral.secretRef" (list . (include "corral.databaseUrl" .) .Values.secrets.keys.databaseUrl "database-url") -}}
{{- end -}}

{{- define "corral.redisRef" -}}
{{- include "corral.secretRef" (list . (include "corral.redisUrl" .) .Values.secrets.keys.redisUrl "redis-url") -}}
{{- end -}}

{{- define "corral.secretKeyRef" -}}
{{- include "corral.secretRef" (list . .Values.secrets.secretKey .Values.secrets.keys.secretKey "secret-key") -}}
{{- end -}}

{{- define "corral.check" -}}
{{- $has := .Values.secrets.existingSecret -}}
{{- if not (or $has .Values.secrets.secretKey) -}}
{{- fail "secrets: name a Secret in secrets.existingSecret, or set secrets.secretKey to 32 random characters or more (openssl rand -base64 48)." -}}
{{- end -}}
{{- if and .Values.postgresql.enabled .Values.database.url -}}
{{- fail "database: postgresql.enabled and database.url name two databases; keep one." -}}
{{- end -}}
{{- if and .Values.postgresql.enabled (not .Values.postgresql.password) -}}
{{- fail "postgresql: the trial PostgreSQL needs postgresql.password (openssl rand -hex 24)." -}}
{{- end -}}
{{- if not (or $has .Values.postgresql.enabled .Values.database.url) -}}
{{- fail "database: set database.url (postgresql://user:password@host/database), put it into the existing Secret, or try with postgresql.enabled=true." -}}
{{- end -}}
{{- if and .Values.redis.enabled .Values.redis.url -}}
{{- fail "redis: redis.url names a Redis of yours; set redis.enabled=false with it." -}}
{{- end -}}
{{- if not (or $has .Values.redis.enabled .Values.redis.url) -}}
{{- fail "redis: set redis.url, put it into the existing Secret, or leave redis.enabled=true." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress: set ingress.host." -}}
{{- end -}}
{{- end -}}
