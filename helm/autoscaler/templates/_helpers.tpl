{{- define "autoscaler.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "autoscaler.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "autoscaler.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "autoscaler.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "autoscaler.selector" -}}
app.kubernetes.io/name: {{ include "autoscaler.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "autoscaler.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "autoscaler.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "autoscaler.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "autoscaler.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "autoscaler.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The configuration file: what the values say of the stream, below what `config` says. */}}
{{- define "autoscaler.configuration" -}}
{{- $given := .Values.stream.security }}
{{- $security := dict "protocol" $given.protocol }}
{{- if hasPrefix "SASL" $given.protocol }}
{{- $_ := set $security "mechanism" (required "stream.security.mechanism is needed with SASL" $given.mechanism) }}
{{- $_ := set $security "username" (required "stream.security.username is needed with SASL" $given.username) }}
{{- $_ := required "stream.security.existingSecret is needed with SASL" $given.existingSecret }}
{{- $_ := set $security "password_file" (printf "/run/secrets/kafka/%s" $given.keys.password) }}
{{- else if and (eq $given.protocol "SSL") $given.existingSecret }}
{{- $_ := set $security "cert_file" (printf "/run/secrets/kafka/%s" $given.keys.certificate) }}
{{- $_ := set $security "key_file" (printf "/run/secrets/kafka/%s" $given.keys.privateKey) }}
{{- end }}
{{- if and (hasSuffix "SSL" $given.protocol) $given.existingCaSecret }}
{{- $_ := set $security "ca_file" (printf "/run/secrets/kafka-ca/%s" $given.keys.ca) }}
{{- end }}
{{- $stream := dict "kind" "kafka" "prefix" .Values.stream.prefix "partitions" (int .Values.stream.partitions) }}
{{- $named := join "," .Values.stream.brokers | required "stream.brokers is needed: the addresses of Kafka's brokers" }}
{{- $_ := set $stream "brokers" (splitList "," $named) }}
{{- if ne $given.protocol "PLAINTEXT" }}
{{- $_ := set $stream "security" $security }}
{{- end }}
{{- $http := dict "listen" (printf "0.0.0.0:%d" (int .Values.service.port)) }}
{{- $base := dict "cluster" .Values.cluster "stream" $stream "http" $http }}
{{- mustMergeOverwrite $base (deepCopy .Values.config) | toYaml }}
{{- end }}

{{- define "autoscaler.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "autoscaler.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .Values.runAsUser }}
runAsGroup: {{ .Values.runAsUser }}
fsGroup: {{ .Values.runAsUser }}
{{- if .Values.dockerSocket.enabled }}
supplementalGroups: [{{ .Values.dockerSocket.group }}]
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "autoscaler.volumeMounts" -}}
- name: config
  mountPath: /etc/autoscaler
  readOnly: true
- name: work
  mountPath: /var/lib/autoscaler
- name: tmp
  mountPath: /tmp
{{- with .Values.stream.security }}
{{- if .existingSecret }}
- name: kafka
  mountPath: /run/secrets/kafka
  readOnly: true
{{- end }}
{{- if .existingCaSecret }}
- name: kafka-ca
  mountPath: /run/secrets/kafka-ca
  readOnly: true
{{- end }}
{{- end }}
{{- if .Values.dockerSocket.enabled }}
- name: docker
  mountPath: /var/run/docker.sock
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "autoscaler.volumes" -}}
- name: config
  configMap:
    name: {{ include "autoscaler.fullname" . }}
- name: work
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- with .Values.stream.security }}
{{- if .existingSecret }}
- name: kafka
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if .existingCaSecret }}
- name: kafka-ca
  secret:
    secretName: {{ .existingCaSecret }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- if .Values.dockerSocket.enabled }}
- name: docker
  hostPath:
    path: {{ .Values.dockerSocket.path }}
    type: Socket
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
