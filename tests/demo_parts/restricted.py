"""Reads the manifest in docs/kubernetes.md and says what the profile "restricted" would not take, and where it has too little
memory for its connections."""
import sys

import yaml

text = open(sys.argv[1]).read().split("```yaml\n", 1)[1].split("```", 1)[0]
documents = list(yaml.safe_load_all(text))
pods = [document["spec"]["template"]["spec"] for document in documents
        if document["kind"] in ("Deployment", "StatefulSet")]
assert pods, "no pod"
for pod in pods:
    around = pod["securityContext"]
    assert around["runAsNonRoot"] is True and around["runAsUser"] == 10001, around
    assert around["seccompProfile"]["type"] == "RuntimeDefault", around
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), pod.keys()
    for container in pod["containers"] + pod.get("initContainers", []):
        inside = container["securityContext"]
        assert inside["allowPrivilegeEscalation"] is False, inside
        assert inside["readOnlyRootFilesystem"] is True, inside
        assert inside["capabilities"] == {"drop": ["ALL"]}, inside
        # The formula of docs/guarantees.md, every connection being one that fetches.
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        needed = 15 + 30 + 32 + 16 + int(variables["PILLARBOX_LIMITS__CONNECTIONS"]) * 192 / 1024
        memory = container["resources"]["limits"]["memory"]
        assert needed < int(memory.removesuffix("Mi")), (needed, memory)
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret", "csi", "downwardAPI"}
    for volume in pod.get("volumes", []):
        assert set(volume) - {"name"} <= allowed, volume
