package restapi

// Scopes that are none: public asks for no token, anyScope for any.
const (
	public   = "public"
	anyScope = ""
)

// route is one endpoint and the scope that it asks for
// (https://buildkite.com/docs/apis/managing-api-tokens#token-scopes).
type route struct {
	pattern string
	scope   string
	serve   func(*request) error
}

const (
	atOrg      = "/v2/organizations/{org}"
	atPipeline = atOrg + "/pipelines/{pipeline}"
	atBuild    = atPipeline + "/builds/{build}"
	atCluster  = atOrg + "/clusters/{cluster}"
)

var routes = append([]route{
	{"GET /v2", public, root},
	{"GET /v2/meta", public, meta},
	{"GET /v2/access-token", anyScope, accessToken},
	{"DELETE /v2/access-token", anyScope, revokeAccessToken},
	{"GET /v2/user", "read_user", user},
	{"GET /v2/organizations", "read_organizations", listOrganizations},
	{"GET " + atOrg, "read_organizations", getOrganization},
	{"GET " + atOrg + "/rate_limit", "read_organizations", rateLimits},
	{"GET " + atOrg + "/emojis", anyScope, emojis},
	{"GET " + atOrg + "/services", "read_notification_services", listServices},
	{"POST " + atOrg + "/services", "write_notification_services", createService},
	{"GET " + atOrg + "/services/{service}", "read_notification_services", getService},
	{"PATCH " + atOrg + "/services/{service}", "write_notification_services", updateService},
	{"DELETE " + atOrg + "/services/{service}", "write_notification_services", deleteService},
	{"PUT " + atOrg + "/services/{service}/enable", "write_notification_services", enableService},
	{"PUT " + atOrg + "/services/{service}/disable", "write_notification_services", disableService},
	{"GET " + atOrg + "/pipeline-settings", "read_organization_settings", getSettings},
	{"PATCH " + atOrg + "/pipeline-settings", "write_organization_settings", changeSettings},

	{"GET " + atOrg + "/pipelines", "read_pipelines", listPipelines},
	{"POST " + atOrg + "/pipelines", "write_pipelines", createPipeline},
	{"POST " + atOrg + "/check-pipeline", "read_pipelines", checkPipeline},
	{"GET " + atPipeline, "read_pipelines", getPipeline},
	{"PATCH " + atPipeline, "write_pipelines", updatePipeline},
	{"POST " + atPipeline + "/archive", "write_pipelines", archivePipeline},
	{"POST " + atPipeline + "/unarchive", "write_pipelines", unarchivePipeline},

	{"POST " + atPipeline + "/webhook", "write_pipelines", setWebhook},
	{"GET " + atPipeline + "/github-webhooks", "read_pipelines", getWebhook},
	{"PUT " + atPipeline + "/github-webhooks", "write_pipelines", enableWebhook},
	{"DELETE " + atPipeline + "/github-webhooks", "write_pipelines", disableWebhook},
	{"GET " + atPipeline + "/deliveries", "read_pipelines", listDeliveries},

	{"GET " + atPipeline + "/schedules", "read_pipelines", listSchedules},
	{"POST " + atPipeline + "/schedules", "write_pipelines", createSchedule},
	{"GET " + atPipeline + "/schedules/{schedule}", "read_pipelines", getSchedule},
	{"PUT " + atPipeline + "/schedules/{schedule}", "write_pipelines", updateSchedule},
	{"PATCH " + atPipeline + "/schedules/{schedule}", "write_pipelines", updateSchedule},
	{"DELETE " + atPipeline + "/schedules/{schedule}", "write_pipelines", deleteSchedule},

	{"GET " + atOrg + "/forge-token", "read_organization_settings", getForgeToken},
	{"PUT " + atOrg + "/forge-token", "write_organization_settings", setForgeToken},
	{"DELETE " + atOrg + "/forge-token", "write_organization_settings", deleteForgeToken},
	{"GET " + atOrg + "/forge-app", "read_organization_settings", getForgeApp},
	{"PUT " + atOrg + "/forge-app", "write_organization_settings", setForgeApp},
	{"DELETE " + atOrg + "/forge-app", "write_organization_settings", deleteForgeApp},
	{"GET " + atPipeline + "/forge-token", "read_pipelines", getForgeToken},
	{"PUT " + atPipeline + "/forge-token", "write_pipelines", setForgeToken},
	{"DELETE " + atPipeline + "/forge-token", "write_pipelines", deleteForgeToken},

	{"GET " + atPipeline + "/triggers", "read_pipelines", listTriggers},
	{"POST " + atPipeline + "/triggers", "write_pipelines", createTrigger},
	{"PATCH " + atPipeline + "/triggers/{trigger}", "write_pipelines", updateTrigger},
	{"DELETE " + atPipeline + "/triggers/{trigger}", "write_pipelines", deleteTrigger},

	{"GET /v2/builds", "read_builds", listBuilds},
	{"GET " + atOrg + "/builds", "read_builds", listBuilds},
	{"GET " + atPipeline + "/builds", "read_builds", listBuilds},
	{"POST " + atPipeline + "/builds", "write_builds", createBuild},
	{"POST /v2/pipelines/{uuid}/builds", "write_builds", createBuild},
	{"GET " + atBuild, "read_builds", getBuild},
	{"PUT " + atBuild + "/cancel", "write_builds", cancelBuild},
	{"PUT " + atBuild + "/rebuild", "write_builds", rebuild},
	{"PUT " + atBuild + "/approve", "write_builds", approveBuild},
	{"PUT " + atBuild + "/reject", "write_builds", rejectBuild},
	{"PUT " + atBuild + "/retry_failed_jobs", "write_builds", retryFailedJobs},

	{"GET " + atBuild + "/jobs", "read_builds", listJobs},
	{"GET " + atBuild + "/artifacts", "read_artifacts", listArtifacts},
	{"GET " + atBuild + "/annotations", "read_builds", listAnnotations},
	{"POST " + atBuild + "/annotations", "write_builds", annotate},
	{"DELETE " + atBuild + "/annotations/{annotation}", "write_builds", deleteAnnotation},

	{"GET " + atOrg + "/agents", "read_agents", listAgents},
	{"GET " + atOrg + "/agents/{agent}", "read_agents", getAgent},
	{"PUT " + atOrg + "/agents/{agent}/stop", "write_agents", stopAgent},
	{"PUT " + atOrg + "/agents/{agent}/pause", "write_agents", pauseAgent},
	{"PUT " + atOrg + "/agents/{agent}/resume", "write_agents", resumeAgent},

	{"GET " + atOrg + "/clusters", "read_clusters", listClusters},
	{"GET " + atCluster, "read_clusters", getCluster},
	{"GET " + atCluster + "/queues", "read_clusters", listQueues},
	{"POST " + atCluster + "/queues", "write_clusters", createQueue},
	{"GET " + atCluster + "/queues/{queue}", "read_clusters", getQueue},
	{"PUT " + atCluster + "/queues/{queue}", "write_clusters", updateQueue},
	{"PATCH " + atCluster + "/queues/{queue}", "write_clusters", updateQueue}, // the Terraform provider's method
	{"POST " + atCluster + "/queues/{queue}/pause_dispatch", "write_clusters", pauseQueue},
	{"POST " + atCluster + "/queues/{queue}/resume_dispatch", "write_clusters", resumeQueue},

	{"GET " + atCluster + "/tokens", "read_clusters", listAgentTokens},
	{"POST " + atCluster + "/tokens", "write_clusters", createAgentToken},
	{"GET " + atCluster + "/tokens/{token}", "read_clusters", getAgentToken},
	{"PUT " + atCluster + "/tokens/{token}", "write_clusters", updateAgentToken},
	{"PATCH " + atCluster + "/tokens/{token}", "write_clusters", updateAgentToken},
	{"DELETE " + atCluster + "/tokens/{token}", "write_clusters", revokeAgentToken},

	{"GET " + atCluster + "/secrets", "read_secrets_details", listSecrets},
	{"POST " + atCluster + "/secrets", "write_secrets", createSecret},
	{"GET " + atCluster + "/secrets/{secret}", "read_secrets_details", getSecret},
	{"PUT " + atCluster + "/secrets/{secret}", "write_secrets", updateSecret},
	{"PATCH " + atCluster + "/secrets/{secret}", "write_secrets", updateSecret},
	{"PUT " + atCluster + "/secrets/{secret}/value", "write_secrets", setSecretValue},
	{"DELETE " + atCluster + "/secrets/{secret}", "write_secrets", deleteSecret},
}, append(jobRoutes(), teamRoutes()...)...)

// jobRoutes are those of one job. Each has two paths: below its build and below the organization.
func jobRoutes() []route {
	var out []route
	for _, at := range []string{atBuild + "/jobs/{job}", atOrg + "/jobs/{job}"} {
		out = append(out,
			route{"GET " + at, "read_builds", getJob},
			route{"PUT " + at + "/retry", "write_builds", retryJob},
			route{"PUT " + at + "/unblock", "write_builds", unblockJob},
			route{"PUT " + at + "/cancel", "write_builds", cancelJob},
			route{"PUT " + at + "/reprioritize", "write_builds", reprioritizeJob},
			route{"GET " + at + "/log", "read_build_logs", jobLog},
			route{"GET " + at + "/log.txt", "read_build_logs", jobLogText},
			route{"GET " + at + "/log.html", "read_build_logs", jobLogHTML},
			route{"DELETE " + at + "/log", "write_build_logs", deleteJobLog},
			route{"GET " + at + "/env", "read_job_env", jobEnv},
			route{"GET " + at + "/env.txt", "read_job_env", jobEnvText},
			route{"GET " + at + "/artifacts", "read_artifacts", listJobArtifacts},
			route{"GET " + at + "/artifacts/{artifact}", "read_artifacts", getArtifact},
			route{"DELETE " + at + "/artifacts/{artifact}", "write_artifacts", deleteArtifact},
			route{"GET " + at + "/artifacts/{artifact}/download", "read_artifacts", downloadArtifact},
			route{"GET " + at + "/annotations", "read_builds", listJobAnnotations},
			route{"POST " + at + "/annotations", "write_builds", annotateJob},
			route{"DELETE " + at + "/annotations/{annotation}", "write_builds", deleteAnnotation},
		)
	}
	return out
}
