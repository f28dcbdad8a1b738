{{/* What the pods of Corral's own processes have in common. */}}

{{/* (list $ role): annotations and labels of a pod */}}
{{- define "corral.podMetadata" -}}
{{- $ := index . 0 -}}
{{- $role := index $.Values (index . 1) -}}
annotations:
  # New settings or secrets of this chart reach the processes by a rollout.
  checksum/settings: {{ include (print $.Template.BasePath "/settings.yaml") $ | sha256sum }}
  checksum/secret: {{ include (print $.Template.BasePath "/secret.yaml") $ | sha256sum }}
  {{- with $role.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "corral.labels" . | nindent 2 }}
  {{- with $role.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* $ */}}
{{- define "corral.podIdentity" -}}
automountServiceAccountToken: false
# A Service named corral-api would put CORRAL_API_PORT=tcp://… into every pod's environment.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end -}}

{{/* (list $ role) */}}
{{- define "corral.podSpec" -}}
{{- $ := index . 0 -}}
{{- $role := index $.Values (index . 1) -}}
serviceAccountName: {{ include "corral.serviceAccount" $ }}
{{ include "corral.podIdentity" $ }}
{{- with $role.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $role.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $role.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $role.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $role.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if and $.Values.migrations.enabled $.Values.postgresql.enabled }}
# The trial database is not there yet when hooks run. Safe by several pods at once.
initContainers:
  - name: migrate
    {{- include "corral.migrateContainer" (list $ (include "corral.databaseRef" $)) | nindent 4 }}
{{- end }}
{{- end -}}

{{/* $ */}}
{{- define "corral.container" -}}
image: {{ include "corral.image" (list .Values.image .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.containerSecurityContext | nindent 2 }}
{{- end -}}

{{/* (list $ secretKeyRef) */}}
{{- define "corral.migrateContainer" -}}
{{- $ := index . 0 -}}
{{ include "corral.container" $ }}
args: [migrate]
env:
  - name: CORRAL_DATABASE_URL
    valueFrom:
      secretKeyRef:
        {{- index . 1 | nindent 8 }}
resources:
  {{- toYaml $.Values.migrations.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
{{- end -}}

{{/* $: what every process is told */}}
{{- define "corral.env" -}}
- name: CORRAL_DATABASE_URL
  valueFrom:
    secretKeyRef:
      {{- include "corral.databaseRef" . | nindent 6 }}
- name: CORRAL_REDIS_URL
  valueFrom:
    secretKeyRef:
      {{- include "corral.redisRef" . | nindent 6 }}
- name: CORRAL_SECRET_KEY
  valueFrom:
    secretKeyRef:
      {{- include "corral.secretKeyRef" . | nindent 6 }}
{{- end -}}

{{/* (list $ role) */}}
{{- define "corral.envFrom" -}}
{{- $ := index . 0 -}}
{{- $role := index $.Values (index . 1) -}}
envFrom:
  - configMapRef:
      name: {{ include "corral.fullname" $ }}
  {{- with $role.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Probes of a process whose port is called http. Not ready: the database is away. Not live: its loop stands still. */}}
{{- define "corral.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  failureThreshold: 45
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 10
  failureThreshold: 2
{{- end -}}

{{/* (list $ component maxUnavailable) */}}
{{- define "corral.pdb" -}}
{{- $ := index . 0 -}}
{{- $component := index . 1 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "corral.fullname" $ }}-{{ $component }}
  labels:
    {{- include "corral.labels" (list $ $component) | nindent 4 }}
spec:
  maxUnavailable: {{ (index $.Values $component).pdb.maxUnavailable }}
  # A pod that is not ready serves nobody; it must not keep a node from being emptied.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "corral.selector" (list $ $component) | nindent 6 }}
{{- end -}}
