# Trims the published API descriptions to the requests that are made.
import glob, json, os, re, sys

OPENAPI, GRAPHQL, CRATES, OUT = sys.argv[1:]
def github():
    g=json.load(open(f'{OPENAPI}/generated/api.github.com.json'))
    def res(x,depth=0):
        if isinstance(x,dict):
            if '$ref' in x:
                t=g
                for k in x['$ref'].lstrip('#/').split('/'): t=t[k.replace('~1','/')]
                return res(t,depth+1)
            y={}
            for k,v in x.items():
                if k=='properties': y[k]={n:res(t,depth+1) for n,t in v.items()}
                elif k not in('examples','example','externalDocs','x-github','description','title','default'): y[k]=res(v,depth+1)
            if 'properties' in y and 'additionalProperties' not in y: y['additionalProperties']=False
            return y
        if isinstance(x,list): return [res(v,depth+1) for v in x]
        return x
    def nullable(x):
        if isinstance(x,dict):
            x={k:({n:nullable(t) for n,t in v.items()} if k=='properties' else nullable(v)) for k,v in x.items()}
            if x.get('nullable') is True and 'type' in x: x['type']=[x['type'],'null']
            if not isinstance(x.get('nullable'),dict): x.pop('nullable',None)
            if isinstance(x.get('format'),str): x.pop('format')
            return x
        if isinstance(x,list): return [nullable(v) for v in x]
        return x
    ops=[("GET","/repos/{owner}/{repo}"),("GET","/installation/repositories"),("GET","/repos/{owner}/{repo}/branches/{branch}"),("GET","/repos/{owner}/{repo}/git/trees/{tree_sha}"),("GET","/repos/{owner}/{repo}/git/blobs/{file_sha}"),("POST","/repos/{owner}/{repo}/git/blobs"),("POST","/repos/{owner}/{repo}/git/trees"),("POST","/repos/{owner}/{repo}/git/commits"),("POST","/repos/{owner}/{repo}/git/refs"),("PATCH","/repos/{owner}/{repo}/git/refs/{ref}"),("GET","/repos/{owner}/{repo}/compare/{basehead}"),("GET","/repos/{owner}/{repo}/pulls"),("POST","/repos/{owner}/{repo}/pulls"),("GET","/repos/{owner}/{repo}/pulls/{pull_number}"),("PATCH","/repos/{owner}/{repo}/pulls/{pull_number}"),("GET","/repos/{owner}/{repo}/issues/{issue_number}/comments"),("POST","/repos/{owner}/{repo}/issues/{issue_number}/comments"),("POST","/repos/{owner}/{repo}/issues/{issue_number}/labels"),("POST","/repos/{owner}/{repo}/labels"),("GET","/repos/{owner}/{repo}/commits/{ref}"),("GET","/repos/{owner}/{repo}/commits/{ref}/statuses"),("GET","/repos/{owner}/{repo}/commits/{ref}/check-runs"),("GET","/repos/{owner}/{repo}/rules/branches/{branch}"),("GET","/repos/{owner}/{repo}/branches/{branch}/protection/required_status_checks"),("POST","/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches"),("GET","/repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs"),("GET","/repos/{owner}/{repo}/actions/workflows/{workflow_id}"),("PUT","/repos/{owner}/{repo}/pulls/{pull_number}/merge"),("POST","/repos/{owner}/{repo}/git/tags"),("GET","/repos/{owner}/{repo}/git/ref/{ref}"),("DELETE","/repos/{owner}/{repo}/git/refs/{ref}"),("GET","/repos/{owner}/{repo}/issues"),("POST","/repos/{owner}/{repo}/issues"),("PATCH","/repos/{owner}/{repo}/issues/{issue_number}"),("GET","/orgs/{org}"),("GET","/user")]
    out=[]
    for m,p in ops:
        o=g['paths'][p][m.lower()]
        q=[res(x) for x in o.get('parameters',[])]
        body=o.get('requestBody')
        body=nullable(res(body['content']['application/json']['schema'])) if body else None
        out.append({"method":m,"path":p,"query":sorted(x['name'] for x in q if x['in']=='query'),"body":body})
    return {"source":"npm @octokit/openapi 23.0.2, generated/api.github.com.json","operations":out}
def graphql():
    s=open(f'{GRAPHQL}/schema.graphql').read()
    def inp(n):
        i=s.index('\ninput %s {'%n); t=s[i:s.index('\n}',i)]
        t=re.sub(r'"""[\s\S]*?"""','',t)
        fields=re.findall(r'^\s+(\w+): ([^\n=]+?)(?: =.*)?$',t,re.M)
        props={};reqd=[]
        for f,ty in fields:
            ty=ty.strip(); req=ty.endswith('!'); ty=ty.rstrip('!')
            if req: reqd.append(f)
            def sch(ty):
                if ty.startswith('['): return {"type":"array","items":sch(ty[1:-1].rstrip('!'))}
                if '\ninput %s {'%ty in s: return inp(ty)
                return {"Boolean":{"type":"boolean"},"Int":{"type":"integer"},"GitObjectID":{"type":"string","pattern":"^[0-9a-f]{40}$"},"PullRequestMergeMethod":{"enum":["MERGE","REBASE","SQUASH"]}}.get(ty,{"type":"string"})
            props[f]=sch(ty)
        return {"type":"object","properties":props,"required":reqd,"additionalProperties":False}
    ms={}
    for m,i in [("updateRefs","UpdateRefsInput"),("enablePullRequestAutoMerge","EnablePullRequestAutoMergeInput"),("markPullRequestReadyForReview","MarkPullRequestReadyForReviewInput"),("convertPullRequestToDraft","ConvertPullRequestToDraftInput"),("enqueuePullRequest","EnqueuePullRequestInput"),("createCommitOnBranch","CreateCommitOnBranchInput"),("disablePullRequestAutoMerge","DisablePullRequestAutoMergeInput")]:
        ms[m]={"input":i,"schema":inp(i)}
    return {"source":"npm @octokit/graphql-schema 15.26.1, schema.graphql","mutations":ms}
def sdl():
    """The types of GitHub's schema that queries touch, each with the fields that they may ask for; inputs and enums whole."""
    text=re.sub(r'"""[\s\S]*?"""','',open(f'{GRAPHQL}/schema.graphql').read())
    def whole(name):
        found=re.search(r'^(?:(?:type|interface|input|enum) %s\b[^{]*\{[\s\S]*?\n\}|scalar %s\b.*)'%(name,name),text,re.M)
        return re.sub(r'\n\s*\n','\n',found.group(0))
    def trimmed(name,fields):
        head,body=whole(name).split('{',1)
        wanted=[re.search(r'^  %s\b(?:\([\s\S]*?\n  \))?:.*$'%field,body,re.M).group(0) for field in fields]
        head=re.sub(r' implements .*',' implements GitObject ',head) if 'GitObject &' in head else re.sub(r' implements .*',' ',head)
        return '%s{\n%s\n}'%(head,'\n'.join(wanted))
    objects={'Query':['repository','viewer','repositoryOwner','search'],'User':['login'],'Repository':['object','mergeCommitAllowed','squashMergeAllowed','rebaseMergeAllowed','mergeQueue','pullRequest','ref','defaultBranchRef','id','isArchived','isEmpty','isPrivate','nameWithOwner','pullRequests','repositoryTopics','viewerPermission'],'GitObject':['oid'],'Blob':['oid','text','isTruncated','byteSize','isBinary'],
             'RepositoryOwner':['login','repositories'],'RepositoryConnection':['nodes','pageInfo','totalCount'],'SearchResultItemConnection':['nodes','pageInfo','repositoryCount'],'PageInfo':['endCursor','hasNextPage'],'RepositoryTopicConnection':['nodes','totalCount'],'RepositoryTopic':['topic'],'Topic':['name'],
             'PullRequestConnection':['nodes','totalCount'],'LabelConnection':['nodes'],'Label':['name'],'CommitConnection':['nodes','totalCount'],'CommitHistoryConnection':['nodes','pageInfo'],'GitActor':['name'],'Tree':['oid'],'TreeEntry':['mode','oid','object'],
             'MergeQueue':['configuration'],'MergeQueueConfiguration':['mergeMethod'],'MergeQueueEntry':['position','state'],'Ref':['name','refUpdateRule','target'],'RefUpdateRule':['requiresLinearHistory','requiresSignatures'],
             'PullRequest':['mergeQueueEntry','timelineItems','baseRefName','body','headRef','headRefName','headRefOid','id','isCrossRepository','isDraft','labels','mergeCommit','number','state','title','url'],'PullRequestTimelineItemsConnection':['nodes'],'AddedToMergeQueueEvent':['id'],'RemovedFromMergeQueueEvent':['id','reason'],'HeadRefForcePushedEvent':['id'],'PullRequestCommit':['id'],
             'Commit':['oid','signature','author','committedDate','file','history','message','parents','tree'],'GitSignature':['isValid'],'Mutation':sorted(graphql()['mutations'])}
    answered={'EnqueuePullRequestPayload':['mergeQueueEntry'],'CreateCommitOnBranchPayload':['commit']}
    for mutation in objects['Mutation']:
        payload=mutation[0].upper()+mutation[1:]+'Payload'
        objects[payload]=['clientMutationId']+answered.get(payload,[])
    inputs=[name[:-len('Payload')]+'Input' for name in objects if name.endswith('Payload')]+['RefUpdate','CommittableBranch','CommitMessage','FileChanges','FileAddition','FileDeletion']
    kinds=['PullRequestMergeMethod','MergeQueueEntryState','PullRequestTimelineItemsItemType','Base64String','DateTime','GitObjectID','GitRefname']
    union='union PullRequestTimelineItems = '+' | '.join(name for name in objects if name.endswith('Event') or name=='PullRequestCommit')
    parts=['# From npm @octokit/graphql-schema 15.26.1, schema.graphql; MIT, GitHub 2025. Trimmed by extract.py.','schema {\n  query: Query\n  mutation: Mutation\n}']
    parts+=[trimmed(name,fields) for name,fields in objects.items()]+[union,'union SearchResultItem = Repository']+[whole(name) for name in inputs+kinds]
    return '\n\n'.join(re.sub(r'[ \t]+$','',part,flags=re.M) for part in parts)+'\n'
def swagger(path,src,ops):
    d=json.load(open(path))
    def res(x):
        if isinstance(x,dict):
            if '$ref' in x: return res(d['definitions'][x['$ref'].split('/')[-1]])
            y={}
            for k,v in x.items():
                if k=='properties': y[k]={n:res(t) for n,t in v.items()}
                elif k not in('description','x-go-name','x-go-package','example','title','format','x-deprecated','uniqueItems','default'): y[k]=res(v)
            if 'properties' in y: y['additionalProperties']=False
            return y
        if isinstance(x,list): return [res(v) for v in x]
        return x
    out=[]
    for m,p in ops:
        o=d['paths'].get(p,{}).get(m.lower())
        if not o: print('missing',src,m,p,file=sys.stderr); continue
        ps=o.get('parameters',[])
        body=[x for x in ps if x['in']=='body']
        out.append({"method":m,"path":p,"query":sorted(x['name'] for x in ps if x['in']=='query'),"body":res(body[0]['schema']) if body else None})
    return {"source":src,"operations":out}
r="/repos/{owner}/{repo}"
gops=[("GET",r),("GET",r+"/branches"),("GET",r+"/branches/{branch}"),("DELETE",r+"/branches/{branch}"),("GET",r+"/git/trees/{sha}"),("GET",r+"/git/blobs/{sha}"),("POST",r+"/contents"),("GET",r+"/compare/{basehead}"),("GET",r+"/pulls"),("POST",r+"/pulls"),("GET",r+"/pulls/{index}"),("PATCH",r+"/pulls/{index}"),("POST",r+"/pulls/{index}/merge"),("DELETE",r+"/pulls/{index}/merge"),("GET",r+"/issues/{index}/comments"),("POST",r+"/issues/{index}/comments"),("POST",r+"/issues/{index}/labels"),("GET",r+"/labels"),("POST",r+"/labels"),("GET","/orgs/{org}/labels"),("GET",r+"/commits/{ref}/statuses"),("GET",r+"/branch_protections"),("GET",r+"/git/commits/{sha}"),("GET",r+"/git/refs/{ref}"),("GET",r+"/issues"),("POST",r+"/issues"),("PATCH",r+"/issues/{index}"),("GET","/version"),("POST",r+"/actions/workflows/{workflowfilename}/dispatches"),("GET",r+"/commits"),("POST",r+"/tags"),("GET",r+"/tags/{tag}"),("DELETE",r+"/tags/{tag}"),("GET",r+"/contents/{filepath}"),("GET","/orgs/{org}/repos"),("GET","/users/{username}/repos"),("GET","/repos/search")]
def w(n,x): json.dump(x,open(f'{OUT}/{n}','w'),indent=1,sort_keys=True); open(f'{OUT}/{n}','a').write('\n')
w('github.json',github()); w('github-graphql.json',graphql()); open(f'{OUT}/github.graphql','w').write(sdl())
gitea=swagger(CRATES+'/gitea-sdk-0.6.3/swagger.json','crate gitea-sdk 0.6.3, swagger.json (Gitea 1.23)',gops)
# What later versions added: workflow dispatch in 1.24 (ActionsDispatchWorkflow), `force_push` in 1.26 (ChangeFilesOptions).
at=[o['path'] for o in gitea['operations']].index('/version')+1
gitea['operations'].insert(at,{"method":"POST","path":r+"/actions/workflows/{workflow_id}/dispatches","query":[],"body":{"type":"object","properties":{"ref":{"type":"string"},"inputs":{"type":"object","additionalProperties":{"type":"string"}}},"required":["ref"],"additionalProperties":False}})
next(o for o in gitea['operations'] if o['method']=='POST' and o['path']==r+'/contents')['body']['properties']['force_push']={"type":"boolean"}
# Several contents at once: a file-contents operation in 1.24 (GetFilesOptions), in Forgejo a listing of blobs.
gitea['operations'].append({"method":"POST","path":r+"/file-contents","query":["ref"],"body":{"type":"object","properties":{"files":{"type":"array","items":{"type":"string"}}},"required":["files"],"additionalProperties":False}})
w('gitea.json',gitea)
w('forgejo.json',swagger(CRATES+'/forgejo-api-0.12.0/swagger.v1.json','crate forgejo-api 0.12.0, swagger.v1.json (Forgejo 17)',gops+[("GET",r+"/git/blobs")]))
