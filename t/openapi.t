#!/usr/bin/env perl

# docs/openapi.json: if this fails, clients that were made from the description
# call what is not there, or don't understand what they are answered.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( dirname );

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Schema;

my $root = abs_path(dirname(__FILE__) . '/..');


sub slurp {
    my ($path) = @_;

    open my $f, '<', $path or die "$path: $!";
    local $/;

    return readline $f;
}


my $doc    = Fanout::JSON::decode(slurp("$root/docs/openapi.json"));
my $schema = Fanout::Schema->new($doc);
my $source = slurp("$root/src/api/api.c");

my %verb = map { $_ => 1 } qw( get post put patch delete );
my %operation;      # by operationId

for my $path (sort keys %{ $doc->{paths} }) {
    my $item = $doc->{paths}{$path};

    for my $method (grep { $verb{$_} } sort keys %$item) {
        my $op = $item->{$method};

        $operation{ $op->{operationId} } = {
            %$op, path => $path, method => uc $method,
            parameters => [ map { $schema->resolve($_) }
                            @{ $item->{parameters} || [] },
                            @{ $op->{parameters} || [] } ],
        };
    }
}


subtest 'the document' => sub {
    like($doc->{openapi}, qr/^3\.1\.\d+$/, 'a version of OpenAPI');
    ok($doc->{info}{$_}, "info has $_") for qw( title version description );

    my ($version) = slurp("$root/src/base/version.h")
                    =~ /FANOUT_VERSION\s+"(.*)"/;
    is($doc->{info}{version}, $version, 'the version of the module');

    my %tags = map { $_->{name} => 1 } @{ $doc->{tags} };
    my %seen;

    for my $op (values %operation) {
        my $name = $op->{operationId};

        ok($op->{summary} && $op->{responses}, "$name is described");
        is(scalar(grep { !$tags{$_} } @{ $op->{tags} }), 0, "$name: its tags");

        my @in_path = $op->{path} =~ /\{(\w+)\}/g;
        my @said    = map { $_->{name} } grep { $_->{in} eq 'path' }
                      @{ $op->{parameters} };

        is("@said", "@in_path", "$name: the parameters of its path");
        ok(!(grep { !$_->{description} || !$_->{schema} }
             @{ $op->{parameters} }), "$name: all parameters are described");
        is(scalar(grep { $seen{ $_->{in} . $_->{name} . $name }++ }
                  @{ $op->{parameters} }), 0, "$name: each once");
    }

    my %used;
    my @todo = ($doc);

    while (@todo) {
        my $value = shift @todo;

        if (ref $value eq 'HASH') {
            if (my $to = $value->{'$ref'}) {
                ok(eval { $schema->resolve($value); 1 }, "$to is there")
                    if !$used{$to}++;
            }
            push @todo, values %$value;

        } elsif (ref $value eq 'ARRAY') {
            push @todo, @$value;
        }
    }

    for my $kind (sort keys %{ $doc->{components} }) {
        for my $name (sort keys %{ $doc->{components}{$kind} }) {
            ok($used{"#/components/$kind/$name"}, "$kind/$name is used");
        }
    }
};


sub arguments {
    my ($op) = @_;

    return join ' ', sort map { $_->{name} } grep { $_->{in} eq 'query' }
                     map { $schema->resolve($_) } @{ $op->{parameters} };
}


# the examples are what they are examples of

subtest 'examples' => sub {
    my $n = 0;
    my $try = sub {
        my ($what, $content) = @_;

        for my $type (sort keys %{ $content || {} }) {
            next if !exists $content->{$type}{example};

            is($schema->check($content->{$type}{schema},
                              $content->{$type}{example}), '', $what);
            $n++;
        }
    };

    for my $name (sort keys %operation) {
        my $op = $operation{$name};

        $try->("$name: request", $op->{requestBody}{content});
        $try->("$name: $_", $schema->resolve($op->{responses}{$_})->{content})
            for sort keys %{ $op->{responses} };
    }

    cmp_ok($n, '>', 10, 'there are some');
};


# the table of routes in the source: first word, words, third word, GET, POST,
# PUT, PATCH, DELETE, what is allowed; and the tables of arguments

subtest 'the routes are those of the source' => sub {
    my ($table) = $source =~ /^static const .* routes\[\] = \{(.*?)^\};/ms;
    my $tables = slurp("$root/src/api/args.c");
    my %there;

    my ($to) = $tables =~ /^#define TO\b(.*?[^\\])\n/ms;
    my ($change) = $tables =~ /^#define CHANGE\b(.*?[^\\])\n/ms;
    my %args = $tables =~ /^const \w+  fanout_api_(\w+)_args\[\] = \{(.*?)^\};/gms;

    for my $rows (values %args) {
        $rows =~ s/^ +TO,/$to/m;
        $rows =~ s/^ +CHANGE,/$change/m;
        $rows = join ' ', sort $rows =~ /(?:arg|always)\("(\w+)"/g;
    }

    my $method = qr/NONE|method\(\w+\)|\{ \w+, NULL \}/;

    for my $route ($table =~ /\{ (ngx_string.*?"\)) \}/gs) {
        my ($first, $words, $last, @methods) =
            $route =~ /^ngx_string\("(\w+)"\), (\d), (?:ngx_null_string|ngx_string\("(\w+)"\)),\s*($method),\s*($method),\s*($method),\s*($method),\s*($method),\s*ngx_string/;
        my $path = "/$first" . ($words > 1 ? '/{name}' : '')
                   . ($last ? "/$last" : '')
                   . ($words < 4 ? '' : $last eq 'locks' ? '/{lock}' : '/{record}');

        for my $i (0 .. 4) {
            my ($name) = $methods[$i] =~ /^method\((\w+)\)/;

            $there{ (qw( GET POST PUT PATCH DELETE ))[$i] . " $path" }
                = $name ? $args{$name} : ''
                if $methods[$i] ne 'NONE';
        }
    }

    is_deeply({ map { ("$_->{method} $_->{path}" => arguments($_)) }
                values %operation }, \%there,
              'all, with their arguments, and no more');
};


# What docs/api.md and docs/protocol.md have in tables is the same.

subtest 'the tables of the documentation' => sub {
    my $api = slurp("$root/docs/api.md");
    my %all = map { $_ => 1 } qw( 403 500 503 );
    my (%routes, %codes);

    for ($api =~ /^\| `((?:GET|POST|PUT|PATCH|DELETE) .*) \|$/mg) {
        my ($route, undef, $statuses) = split / \| /;

        $routes{$route =~ s/`//r =~ s{records/ID}{records/{record}}r
                =~ s{locks/LOCK}{locks/{lock}}r
                =~ s/\b(?:NAME|ID)\b/{name}/r}
            = join ' ', sort $statuses =~ /\b(\d{3})\b/g;
    }

    is_deeply({ map { ($_->{method} . ' ' . $_->{path} =~ s{^/}{}r
                       => join ' ', sort grep { !$all{$_} }
                               keys %{ $_->{responses} }) }
                values %operation }, \%routes, 'routes and their statuses');

    for my $op (values %operation) {
        is(join(' ', grep { !$op->{responses}{$_} } sort keys %all), '',
           "$op->{operationId}: what every route may answer");
    }

    for my $to ([ 405, $schema->resolve((values %{ $doc->{paths} })[0]
                                        {'x-method-not-allowed'}) ],
                map { my $all = $_->{responses};
                      map { [ $_, $schema->resolve($all->{$_}) ] } keys %$all }
                values %operation)
    {
        my ($status, $response) = @$to;
        my $of = $response->{content}{'application/json'}{schema}{allOf}
            or next;

        $codes{"$status $_"} = 1
            for @{ $of->[1]{properties}{error}{properties}{code}{enum} };
    }

    $codes{'400 unknown_op'} = 1;       # only of an operation in a batch

    my %errors = map { my ($status, $text) = split / \| /;
                       map { ("$status $_" => 1) } $text =~ /`(\w+)`/g }
                 $api =~ /^\| (\d{3} \| .*? \| .*) \|$/mg;

    is_deeply(\%codes, \%errors, 'codes of errors');
};


# a real server

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_zone full 2m keys=0%-1%;
        fanout_channel app room:* history=100 presence=on batch=0 seen=10m;
        fanout_channel app locked:* locks=1m records=on guard=on;
        fanout_channel app * history=100 records=on;
        fanout_channel full * history=100 records=on;
        fanout_channels_per_session 1000;
END
    server => <<'END',
        location /fanout/ { fanout_api app; fanout_message_size 1000;
                            fanout_batch 5; }
        location /full/   { fanout_api full; }
        location /realtime { fanout app; fanout_user ann;
                             fanout_permit all *; }
END
);

my $http = $nginx->http;
my %covered;


# The response to an operation: its status, what it is of, and its body against
# the schema of that.

sub call {
    my ($name, $status, %o) = @_;

    my $op   = $operation{$name} or die "no operation $name";
    my $path = $op->{path};
    my $what = "$name: " . ($o{what} // $status);

    $path =~ s/\{name\}/$o{name}/;
    $path =~ s/\{record\}/$o{record} \/\/ 'r1'/e;
    $path =~ s/\{lock\}/$o{lock} \/\/ 'l1'/e;
    $path .= "?$o{query}" if defined $o{query};

    my %known = map { ("$_->{in} $_->{name}" => 1) } @{ $op->{parameters} };

    for my $given ($o{query} ? $o{query} =~ /(?:^|&)(\w+)=/g : ()) {
        ok($known{"query $given"}, "$what: \"$given\" is described");
        $covered{"$name ?$given"} = 1;
    }

    $covered{"$name $_"} = 1 for keys %{ $o{headers} || {} };

    my $r = $http->request($op->{method}, ($o{at} || '/fanout') . $path,
                           exists $o{body} ? (body => $o{body}) : (),
                           headers => $o{headers} || {});

    is($r->{status}, $status, "$what: $status") or diag($r->{body});

    my $response = $schema->resolve($op->{responses}{$status});

    ok($response, "$what: $status is described") or return;
    is($r->{headers}{'content-type'}, (keys %{ $response->{content} })[0],
       "$what: its type");

    my $json = eval { $r->json };
    my $type = $response->{content}{'application/json'}{schema};

    is($schema->check($type, $json), '', "$what: what it says")
        or diag($r->{body});
    ok(exists $r->{headers}{lc $_}, "$what: it has $_")
        for keys %{ $response->{headers} || {} };

    $covered{"$name $status"} = 1;

    return $json;
}


subtest 'publish and history' => sub {
    my $n = 'room%2F1';

    my $one = call(publish => 201, name => $n, body => '{"a":1}',
        query => 'event=msg&user=ann&meta=%7B%22m%22:1%7D&store=1',
        headers => { 'Fanout-Key' => 'k1', 'Content-Type' => 'a/x+json' });
    call(publish => 200, name => $n, body => '{"a":1}', query => 'user=ann',
         headers => { 'Fanout-Key' => 'k1' });
    call(publish => 201, name => $n, body => 'text', what => 'text',
         headers => { 'Content-Type' => 'text/plain' });
    call(publish => 201, name => $n, body => "\x00\xff", what => 'bytes',
         headers => { 'Content-Type' => 'application/octet-stream' });
    call(publish => 201, name => $n, body => '1',
         query => "if=$one->{epoch}:3");

    call(publish => 409, name => $n, body => '1',
         query => "if=$one->{epoch}:1");
    call(publish => 400, name => $n, body => '{', what => 'no JSON',
         headers => { 'Content-Type' => 'application/json' });
    call(publish => 400, name => $n, body => '', what => 'nothing');
    call(publish => 400, name => $n, body => '1', query => 'store=2');
    call(publish => 400, name => '%2A', body => '1', what => 'no name');
    call(publish => 413, name => $n, body => '"' . 'x' x 1000 . '"');
    call(publish => 413, name => $n, body => '1', what => 'meta',
         query => 'meta=%22' . 'x' x 1100 . '%22');
    call(publish => 415, name => $n, body => '1',
         headers => { 'Content-Encoding' => 'gzip' });

    $nginx->native->ok('publish', channel => 'room/1', data => 'of a client');

    my $page = call(getMessages => 200, name => $n, query => 'limit=2');
    is(scalar @{ $page->{messages} }, 2, 'as many as asked for');
    ok($page->{next}, 'and how to go on');

    $page = call(getMessages => 200, name => $n, query => 'before=3');
    is($page->{messages}[0]{meta}{m}, 1, 'with all that there is');
    $page = call(getMessages => 200, name => $n,
                 query => "since=$one->{epoch}:1&limit=2");
    ok($page->{recovered}, 'recovered');
    $page = call(getMessages => 200, name => $n, query => 'since=0000000000000000:1');
    ok(!$page->{recovered}, 'or not');

    call(patchRecord => 201, name => $n, record => 'r', body => '{"set":{"a":1}}');
    call(patchRecord => 200, name => $n, record => 'r', body => '{"set":{"a":2}}');
    $page = call(getMessages => 200, name => $n, query => 'record=r&limit=1');
    ok($page->{messages}[0]{set}{a} == 2 && $page->{next}, 'of a record');
    call(getMessages => 200, name => $n, query => 'limit=5',
         what => 'with changes of records');
    call(getMessages => 400, name => $n,
         query => "record=r&since=$one->{epoch}:1");

    call(getMessages => 400, name => $n, query => 'since=x');
    call(getMessages => 400, name => $n, query => 'limit=x');
    call(getMessages => 404, name => 'nowhere');
};


subtest 'channels' => sub {
    call(publish => 201, name => "list-$_", body => '1') for 1 .. 80;

    my $list = call(listChannels => 200);
    cmp_ok(scalar @{ $list->{channels} }, '>', 80, 'all');

    $list = call(listChannels => 200, query => 'limit=1&match=list-*');
    ok(defined $list->{cursor}, 'there are more');
    call(listChannels => 200, query => "cursor=$list->{cursor}");
    call(listChannels => 400, query => 'limit=x');

    my $in = $nginx->native;
    $in->ok('join', channel => 'list-1');

    my $c = call(getChannel => 200, name => 'list-1');
    call(getChannel => 404, name => 'nowhere');
    call(getChannel => 400, name => "%01");

    my $p = call(purgeChannel => 200, name => 'list-1', query => 'reason=x');
    isnt($p->{epoch}, $c->{epoch}, 'a new epoch');
    call(purgeChannel => 404, name => 'nowhere');
    call(purgeChannel => 400, name => 'list-1', query => 'reason=%0A');
};


subtest 'who is there' => sub {
    my ($one, $two) = map { $nginx->native } 1, 2;
    my $in = 'room%3Ain';

    $_->ok('join', channel => 'room:in', presence => { n => 1 }) for $one, $two;

    call(getPresence => 200, name => $in);
    call(getPresence => 200, name => $in, query => 'summary=1');
    my $page = call(getPresence => 200, name => $in, query => 'limit=1');
    call(getPresence => 200, name => $in, query => "cursor=$page->{cursor}");
    call(getPresence => 200, name => $in, query => 'user=ann');
    call(getPresence => 400, name => $in, query => 'limit=x');
    call(getPresence => 404, name => 'nowhere');

    my $id = $one->client;
    $one->ok('join', channel => 'room:too');

    call(getClient => 200, name => $id);
    $page = call(getClient => 200, name => $id, query => 'limit=1');
    call(getClient => 200, name => $id, query => "cursor=$page->{cursor}");
    call(getClient => 400, name => 'x');
    call(getClient => 404, name => 'c_' . '0' x 15 . '1');

    call(getUser => 200, name => 'ann');
    $page = call(getUser => 200, name => 'ann', query => 'limit=1');
    call(getUser => 200, name => 'ann', query => "cursor=$page->{cursor}");
    call(getUser => 400, name => '%01');
    call(getUser => 404, name => 'nobody');

    call(publish => 201, name => $in, body => '1', query => "to_client=$id");
    call(publish => 201, name => $in, body => '1',
         query => 'to_user=ann&live=1');
    call(publish => 404, name => $in, body => '1', query => 'to_user=nobody');
    call(publish => 201, name => $in, body => '1',
         query => "to=client:$id&key=k1");
    call(publish => 400, name => $in, body => '1', query => 'to=ann');

    call(signal => 200, name => $in, body => '{"x":1}',
         query => 'event=e&tag=t&user=u');
    call(signal => 200, name => $in, body => '1',
         query => "event=e&to_client=$id");
    call(signal => 200, name => $in, body => '1',
         query => 'event=e&to=user:ann');
    call(signal => 404, name => $in, body => '1',
         query => 'event=e&to_user=nobody');
    call(signal => 400, name => $in, body => '1');
    call(signal => 413, name => $in, body => '"' . 'x' x 1000 . '"',
         query => 'event=e');
    call(signal => 415, name => $in, body => '1', query => 'event=e',
         headers => { 'Content-Encoding' => 'br' });

    call(deleteClient => 200, name => $id, query => 'channel=room:in');
    call(deleteClient => 200, name => $id);
    call(deleteClient => 400, name => 'x');
    call(deleteClient => 404, name => $id);
    call(deleteUser => 200, name => 'ann', query => 'channel=room:in');
    call(deleteUser => 400, name => '%01');
    call(deleteUser => 404, name => 'nobody');

    call(purgeChannel => 200, name => $in, query => 'close=1');
};


subtest 'records' => sub {
    my %in = (name => 'room%3Ar');      # without records
    my %at = (name => 'list-1');
    my %body = (body => '{}');

    call(patchRecord => 201, %at, body => '{"set":{"a":1}}',
         query => 'user=u&key=k&base=0&mode=merge');
    call(patchRecord => 200, %at, body => '{"set":{"a":2},"append":{"l":[1]}}',
         headers => { 'Fanout-Key' => 'k', 'If-Match' => '*' });
    my $r = call(patchRecord => 409, %at, body => '{"set":{"a":3}}',
                 query => 'base=1');
    ok($r->{error}{data}{rejected}{a}, 'what is in conflict');
    call(putRecord => 200, %at, body => '{"a":4}',
         query => 'user=u&key=p&base=2&mode=reject',
         headers => { 'Fanout-Key' => 'p' });
    call(putRecord => 409, %at, body => '{"a":5}', query => 'base=99');
    call(putRecord => 201, %at, record => 'r2', body => '{}',
         headers => { 'If-None-Match' => '*' });

    for my $name (qw( putRecord patchRecord )) {
        call($name => 412, %at, %body, headers => { 'If-None-Match' => '*' });
        call($name => 412, %at, %body, headers => { 'If-Match' => '"99"' });
        call($name => 400, %at, body => '');
        call($name => 403, %in, %body);
        call($name => 413, %at, body => '{"set":{"a":"' . 'x' x 1000 . '"}}');
        call($name => 415, %at, %body, headers => { 'Content-Encoding' => 'br' });
    }

    call(getRecord => 200, %at, query => 'versions=1');
    call(getRecord => 404, %at, record => 'none');
    call(getRecord => 400, %at, record => '%01');
    call(getRecord => 403, %in);

    $r = call(getRecords => 200, %at, query => 'limit=1&versions=1&prefix=r');
    call(getRecords => 200, %at, query => "cursor=$r->{cursor}");
    call(getRecords => 400, %at, query => 'limit=x');
    call(getRecords => 403, %in);

    call(deleteRecord => 409, %at, record => 'r2', query => 'base=99');
    call(deleteRecord => 412, %at, record => 'r2',
         headers => { 'If-Match' => '"99"' });
    call(deleteRecord => 200, %at, record => 'r2', query => 'user=u&key=d',
         headers => { 'Fanout-Key' => 'd' });
    call(deleteRecord => 404, %at, record => 'r2');
    call(deleteRecord => 400, %at, query => 'base=x');
    call(deleteRecord => 403, %in);

    call(purgeChannel => 200, name => 'list-2', query => 'records=1');
    call(cleanup => 200);
    is($http->post('/fanout/cleanup?x=1', '')->{status}, 400, 'no argument');
    $covered{'cleanup 400'} = 1;
};


subtest 'locks' => sub {
    my %at = (name => 'locked:1');
    my $token = call(takeLock => 201, %at, query => 'user=job',
                     body => '{"ttl":20000,"data":{"n":1}}')->{token};

    call(takeLock => 200, %at, query => "token=$token");
    call(takeLock => 201, %at, lock => 'l2', what => 'no body');
    call(takeLock => 409, %at);
    call(takeLock => 400, %at, body => '{"ttl":0}');
    call(takeLock => 403, name => 'room:1');
    call(takeLock => 413, %at, body => '{"data":"' . 'x' x 1100 . '"}');
    call(takeLock => 415, %at, body => '{}',
         headers => { 'Content-Encoding' => 'gzip' });

    my $page = call(getLocks => 200, %at, query => 'limit=1');
    call(getLocks => 200, %at, query => "cursor=$page->{cursor}");
    call(getLocks => 400, %at, query => 'limit=x');
    call(getLocks => 403, name => 'room:1');

    call(putRecord => 409, %at, body => '{"a":1}',
         headers => { 'Fanout-Token' => 5 });
    call(patchRecord => 409, %at, body => '{"set":{"a":1}}',
         headers => { 'Fanout-Token' => 5 });
    call(putRecord => 201, %at, body => '{"a":1}');
    call(deleteRecord => 409, %at, headers => { 'Fanout-Token' => 5 });

    call(dropLock => 409, %at, query => 'token=5');
    call(dropLock => 200, %at);
    call(dropLock => 404, %at);
    call(dropLock => 400, %at, query => 'token=x');

    my $ops = [ { op => 'lock', channel => 'locked:1', name => 'x', ttl => 5,
                  data => [1], user => 'u' },
                { op => 'lock', channel => 'locked:1', name => 'l2' },
                { op => 'unlock', channel => 'locked:1', name => 'l2', token => 5 },
                { op => 'unlock', channel => 'locked:1', name => 'l2' } ];

    is($schema->check({ '$ref' => "#/components/schemas/Operation" }, $_), '',
       "$_->{op} is as described") for @$ops;

    my $r = call(batch => 200, what => 'locks', body => Fanout::JSON::encode($ops));
    is(join(' ', map { $_->{error}{code} // 'ok' } @$r),
       'ok locked not_holder ok', 'in a batch');
};



subtest 'shut out' => sub {
    my %eve = (name => 'user:eve');
    my %gzip = (body => '{}', headers => { 'Content-Encoding' => 'gzip' });

    call(putDenial => 200, %eve, query => 'for=60');
    call(putDenial => 200, name => 'tokens:eve', query => 'before=5');
    call(putDenial => 400, %eve);
    call(putDenial => 415, %eve, %gzip);
    call(getDenial => 200, %eve);
    call(getDenial => 200, name => 'tokens:eve');
    call(getDenial => 404, name => 'user:nobody');
    call(getDenial => 400, name => 'nobody');
    call(listDenials => 200, query => 'limit=1');
    call(listDenials => 200, query => 'cursor=1');
    call(listDenials => 400, query => 'limit=x');
    call(deleteDenial => 200, %eve);
    call(deleteDenial => 404, %eve);
    call(deleteDenial => 400, name => 'nobody');
    call(revokeUser => 200, name => 'eve', query => 'before=6&for=9');
    call(revokeUser => 400, name => 'eve', query => 'for=x');
    call(revokeUser => 415, name => 'eve', %gzip);
    call(reauthorizeUser => 200, name => 'eve', query => 'within=9');
    call(reauthorizeUser => 400, name => 'eve', query => 'within=x');
    call(reauthorizeUser => 415, name => 'eve', %gzip);

    my $ops = [ { op => 'block', who => 'user:x', for => 9 },
                { op => 'unblock', who => 'user:x' },
                { op => 'revoke', user => 'x', before => 5, for => 9 },
                { op => 'reauthorize', user => 'x', within => 5 } ];

    is($schema->check({ '$ref' => "#/components/schemas/Operation" }, $_), '',
       "$_->{op} is as described") for @$ops;

    my $r = call(batch => 200, what => 'denials', body => Fanout::JSON::encode($ops));
    is(join(' ', map { $_->{error}{code} // 'ok' } @$r), 'ok ok ok ok', 'in a batch');
};


subtest 'many at once' => sub {
    my $ops = [
        { op => 'publish', channel => 'b', data => 1, event => 'e', user => 'u',
          key => 'k', meta => { m => 1 } },
        { op => 'publish', channel => 'b', data => 1, key => 'k', user => 'u' },
        { op => 'history', channel => 'b', limit => 1 },
        { op => 'info', channel => 'nowhere' },
        { op => 'purge', channel => 'b', reason => 'r' },
    ];
    my $records = [
        { op => 'set', channel => 'b', record => 'r', set => { a => 1 },
          key => 'r', user => 'u' },
        { op => 'set', channel => 'b', record => 'r', base => 0, unset => [ 'a' ],
          mode => 'reject', append => { b => [ 1 ] } },
        { op => 'get', channel => 'b', prefix => 'r',
          versions => Fanout::JSON::true() },
        { op => 'delete', channel => 'b', record => 'r', base => 9 },
        { op => 'delete', channel => 'b', record => 'r' },
    ];

    is($schema->check({ '$ref' => "#/components/schemas/Operation" }, $_), '',
       "$_->{op} is as described") for @$ops, @$records;

    my $r = call(batch => 200, body => Fanout::JSON::encode($ops));

    is(join(' ', map { join ' ', keys %$_ } @$r), 'ok ok ok error ok',
       'each has its result');
    ok($r->[1]{ok}{duplicate}, 'known');

    $r = call(batch => 200, body => Fanout::JSON::encode($records));
    is(join(' ', map { join ' ', keys %$_ } @$r), 'ok error ok error ok',
       'records, too');

    $r = call(batch => 200, what => 'wrong ones', body => Fanout::JSON::encode([
        { op => 'nope', channel => 'b' }, { op => 'info' }, 1,
        { op => 'publish', channel => 'b', data => 'x' x 2000 },
        { op => 'publish', channel => 'b', data => 1,
          if => { epoch => "0" x 16, offset => 7 } },
    ]));

    is(join(' ', map { $_->{error}{code} } @$r),
       'unknown_op bad_request bad_request too_large conflict',
       'each its error');

    call(batch => 400, body => '{}');
    call(batch => 400, body => Fanout::JSON::encode([ (1) x 6 ]),
         what => 'too many');
    call(batch => 415, body => '[]', headers => { 'Content-Encoding' => 'br' });

    my $all = { channels => [ 'b', 'c' ], data => { n => 1 }, event => 'e',
                enc => undef };

    delete $all->{enc};
    is($schema->check({ '$ref' => "#/components/schemas/Broadcast" }, $all),
       '', 'a broadcast is as described');
    call(broadcast => 200, body => Fanout::JSON::encode($all));
    call(broadcast => 200, what => 'one is none', body =>
         Fanout::JSON::encode({ channels => [ 'b', '*', 7 ], data => 1 }));
    call(broadcast => 400, body => '{}');
    call(broadcast => 415, body => '{}',
         headers => { 'Content-Encoding' => 'br' });
};


# by keys, which nothing can evict: they have the room of a hundred

subtest 'a full zone' => sub {
    my $r;

    for my $n (1 .. 400) {
        $r = $http->post('/full/channels/other/messages', '1',
                         headers => { 'Fanout-Key' => "k$n" });
        last if $r->{status} != 201;
    }

    is($r->{status}, 507, 'keys fill their share');

    call($_ => 507, name => 'other', body => '{"set":{"a":1}}', at => '/full',
         headers => { 'Fanout-Key' => 'r' }) for qw( putRecord patchRecord );
    call(publish => 507, name => 'other', body => '1', at => '/full',
         headers => { 'Fanout-Key' => 'another' });
};


subtest 'methods and paths that are not' => sub {
    my $here = $nginx->native;

    for my $path (sort keys %{ $doc->{paths} }) {
        my $item  = $doc->{paths}{$path};
        my %has   = map { uc $_ => 1 } grep { $verb{$_} } keys %$item;
        my $name  = $path =~ m{^/clients} ? $here->client
                    : $path =~ m{^/users} ? 'ann'
                    : $path =~ m{^/denials} ? 'tokens:eve'
                    : $path =~ m{/locks} ? 'locked:1' : 'list-1';
        my $real  = '/fanout' . $path =~ s/\{name\}/$name/r
                    =~ s/\{record\}/r1/r =~ s/\{lock\}/l1/r;
        my $type  = $schema->resolve($item->{'x-method-not-allowed'});
        my $allow = join ', ', grep { $has{$_} || $_ eq 'HEAD' && $has{GET} }
                               qw( GET HEAD POST PUT PATCH DELETE );

        for my $method (grep { !$has{$_} } qw( GET POST PUT PATCH DELETE )) {
            my $r = $http->request($method, $real);

            is($r->{status}, 405, "$method $path");
            is($r->{headers}{allow}, $allow, 'what is there');
            is($schema->check($type->{content}{'application/json'}{schema},
                              $r->json), '', 'said as described');
        }

        is($http->head($real)->{status}, 200, "HEAD $path") if $has{GET};
    }

    my $r = $http->get('/fanout/nothing');

    is($r->{status}, 404, 'no path');
    is($schema->check({ '$ref' => '#/components/schemas/Error' }, $r->json),
       '', 'is said the same way');
};


subtest 'a name of the host that it was not told' => sub {
    for my $name (sort keys %operation) {
        call($name => 403, name => 'list-1',
             $operation{$name}{method} =~ /^P/ ? (body => '{}') : (),
             headers => { Host => 'rebind.example' });
    }
};


# all that is described was seen, but for what needs a worker without a zone or
# without memory, or finds no place in a full zone for what it has to tell

subtest 'nothing is left out' => sub {
    for my $name (sort keys %operation) {
        my $op = $operation{$name};

        for my $status (sort keys %{ $op->{responses} }) {
            next if $status == 500 || $status == 503;
            next if $status == 507 && $name !~ /^(?:publish|p\w+Record)$/;
            ok($covered{"$name $status"}, "$name $status");
        }

        for my $p (@{ $op->{parameters} }) {
            next if $p->{in} eq 'path';
            ok($covered{"$name " . ($p->{in} eq 'query' ? '?' : '')
                        . $p->{name}}, "$name: $p->{name}");
        }
    }

    my %codes = map { $_ => 1 }
                @{ $doc->{components}{schemas}{ErrorObject}{properties}{code}
                       {enum} };
    my %there = map { $_ => 1 }
                slurp("$root/src/hub/error.c")
                =~ /\{ ngx_string\("(\w+)"\), \d+/g;

    # those of sessions

    my %not = map { $_ => 1 } qw( not_joined rate_limited
                                  channel_full refused hook_failed busy
                                  unauthorized );

    is(join(' ', sort keys %codes),
       join(' ', sort grep({ !$not{$_} } keys %there),
            qw( method_not_allowed )), 'all codes of errors');
};
