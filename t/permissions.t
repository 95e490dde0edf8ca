#!/usr/bin/env perl

# Each operation, by each source of permissions, over each transport, where it is
# allowed and where it is not. If this fails, a permission grants what it should
# not, or not what it should.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::AuthorizeBackend;
use Fanout::Backend;
use Fanout::JWT;
use Fanout::Nginx;
use Fanout::Stream;


my @ops     = qw( join publish history presence profile signal record lock );
my $secret  = 'a secret that only the backend knows';
my $backend = Fanout::Backend->start;
my $port    = $backend->port;
my $grants  = Fanout::AuthorizeBackend->start;

# What each source grants: on the channel "yes-OP" the operation OP, and on all to
# join where another operation needs it. The channel "no-OP" is permitted for all
# operations but OP.

sub patterns {
    my ($op) = @_;
    return ("yes-$op", map { "no-$_" } grep { $_ ne $op } @ops);
}

my $needs = 'fanout_permit join yes-presence yes-lock yes-history;
             fanout_permit publish,presence yes-profile;';

my %sources = (
    fixed    => join("\n", map { "fanout_permit $_ @{[ patterns($_) ]};" } @ops),
    claim    => join("\n", map { "fanout_permit $_ list:\$fanout_claim_$_;" }
                           @ops),
    header   => join("\n", map { "fanout_permit $_ list:\$x_$_;" } @ops),
    answer   => join("\n", map { "fanout_authorize /grants $_;" } @ops),
);

# a claim in the middle of each name

$sources{variable} = join "\n", map {
    my $op = $_;
    "fanout_permit $op \${fanout_claim_yes}-$op "
    . join(' ', map { "\${fanout_claim_no}-$_" } grep { $_ ne $op } @ops) . ';'
} @ops;

my $locations = join '', map {
    my $more = $_ eq 'header'
        ? "auth_request /ask;\n"
          . join '', map { "auth_request_set \$x_$_ \$upstream_http_x_$_;\n" } @ops
        : '';
    "location /$_ { fanout app; fanout_user \$fanout_claim_sub; $more"
    . "$needs\n$sources{$_} }\n";
} sort keys %sources;

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10 presence=on locks=1m records=on;
        fanout_budget off;
        fanout_rate off;
END
    server => <<"END",
        fanout_jwt 'secret=$secret' from=header from=subprotocol;
        $locations
        location = /ask {
            internal;
            proxy_pass http://127.0.0.1:$port/ask;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }
        location = /grants {
            internal;
            proxy_pass http://127.0.0.1:@{[ $grants->port ]}/;
        }
        location /lists {
            fanout app;
            fanout_jwt off;
            fanout_permit join list:\$arg_list;
            fanout_permit publish list:\$http_x_list;
        }
END
);

my $claims = { sub => 'ann', yes => 'yes', no => 'no',
               map { $_ => [ patterns($_) ] } @ops };
my $token  = Fanout::JWT::sign('HS256', $secret, $claims);

$backend->override(send => response(200,
    [ map { [ "X-$_" => join ', ', patterns($_) ] } @ops ], ''));

$grants->says(map { my $op = $_; map { ("$op $_" => [ 200 ]) } patterns($op) } @ops);

my $http = $nginx->http;


# commands

my $locks = 0;

sub command {
    my ($op, $channel) = @_;

    my %more = (publish  => { data => 1 },
                presence => { data => { x => 1 } },
                profile  => { op => 'publish', data => 1,
                              to => { user => 'ann' } },
                signal   => { event => 'e', data => 1 },
                record   => { op => 'set', record => 'r', set => { a => 1 } },
                lock     => { name => 'l' . $locks++ });

    return { op => $op, channel => $channel, %{ $more{$op} || {} } };
}

# who may ask for a user is told that nobody is there

sub code {
    return 'ok' if !$_[0]{error} || $_[0]{error}{code} eq 'recipient_offline';
    return $_[0]{error}{code};
}

my %by = (
    websocket => sub {
        my ($source, $op, $channel) = @_;
        my $s = $nginx->native(path => "/$source", token => $token);

        $s->ok('join', channel => $channel)
            if $op eq 'presence' || $op eq 'lock';

        my $command = command($op, $channel);
        my $code = code($s->cmd(delete $command->{op}, %$command));

        $s->cut;
        return $code;
    },

    post => sub {
        my ($source, $op, $channel) = @_;
        return if $op eq 'join';

        my $stream = $op eq 'presence' || $op eq 'lock'
            ? Fanout::Stream->new($nginx, "/$source", channels => [ $channel ],
                                  headers => { Authorization => "Bearer $token" })
            : undef;

        my $r = $http->post("/$source",
            Fanout::JSON::encode({ id => 1, %{ command($op, $channel) } }),
            headers => {
                Authorization => "Bearer $token",
                'Content-Type' => 'application/json',
                $stream ? ('Fanout-Resume' => $stream->welcome->{resume}) : () });

        $stream->cut if $stream;
        return code($r->json);
    },

    poll => sub {
        my ($source, $op, $channel) = @_;
        return if $op ne 'join' && $op ne 'history';

        my $r = $http->get("/$source?poll=1&timeout=0&channel=$channel"
                           . ($op eq 'history' ? '&history=1' : ''),
                           headers => { Authorization => "Bearer $token" });

        return $r->{status} == 200 ? 'ok' : code($r->json);
    },

    stream => sub {
        my ($source, $op, $channel) = @_;
        return if $op ne 'join' && $op ne 'history';

        my $stream = eval {
            Fanout::Stream->new($nginx, "/$source", channels => [ $channel ],
                $op eq 'history' ? (query => 'history=1') : (),
                headers => { Authorization => "Bearer $token" })
        };

        $stream->cut if $stream;
        return $stream ? 'ok' : $@ =~ /403/ ? 'forbidden' : $@;
    },
);


for my $source (sort keys %sources) {
    subtest $source => sub {
        for my $by (sort keys %by) {
            my (@got, @expected);

            for my $op (@ops) {
                for my $may ('yes', 'no') {
                    my $code = $by{$by}->($source, $op, "$may-$op") // next;

                    push @got, "$op $may $code";
                    push @expected, "$op $may "
                                    . ($may eq 'yes' ? 'ok' : 'forbidden');
                }
            }

            is_deeply(\@got, \@expected, "by $by");
        }
    };
}


subtest 'lists' => sub {
    my $joins = sub {
        my ($list, $channel) = @_;

        $list =~ s/([^\w*-])/sprintf '%%%02X', ord $1/ge;
        $list =~ s/%2C/,/g;

        return $http->get("/lists?poll=1&timeout=0&channel=$channel"
                          . "&list=$list")->{status};
    };
    my $publishes = sub {
        my ($list, $channel) = @_;

        return code($http->post('/lists', Fanout::JSON::encode(
            { id => 1, op => 'publish', channel => $channel, data => 1 }),
            headers => { 'Content-Type' => 'application/json',
                         'X-List' => $list })->json);
    };

    for ([ 'a', 'a', 1 ], [ 'a', 'b', 0 ], [ 'a,b', 'b', 1 ],
         [ ' a ,  b ', 'b', 1 ], [ "a\tb", 'b', 1 ], [ 'a,,b,', 'b', 1 ],
         [ ',', 'a', 0 ], [ 'room:*', 'room:x', 1 ], [ 'room:*', 'rooms', 0 ],
         [ '["a","b"]', 'b', 1 ], [ ' ["a", "b"] ', 'a', 1 ],
         [ '["a b"]', 'a b', 1 ], [ '["room:*"]', 'room:x', 1 ],
         [ '["a","b"', 'a', 0 ], [ '["a",1]', 'a', 0 ], [ '[["a"]]', 'a', 0 ],
         [ '["\u0061"]', 'a', 1 ], [ '["a\u0000"]', 'a', 0 ], [ '[]', 'a', 0 ],
         [ '["a",""]', 'a', 1 ], [ '{"a":1}', 'a', 0 ], [ '"a"', 'a', 0 ],
         [ join(',', map { "c$_" } 1 .. 256), 'c256', 1 ],
         [ join(',', map { "c$_" } 1 .. 257), 'c1', 0 ],
         [ Fanout::JSON::encode([ map { "c$_" } 1 .. 256 ]), 'c256', 1 ],
         [ Fanout::JSON::encode([ map { "c$_" } 1 .. 257 ]), 'c1', 0 ],
         [ 'x' x 255, 'x' x 255, 1 ], [ 'a,' . 'x' x 256, 'a', 0 ],
         [ '', 'a', 0 ])
    {
        my ($list, $channel, $may) = @$_;

        is($publishes->($list, $channel), $may ? 'ok' : 'forbidden',
           substr($list, 0, 20) . ($may ? ' allows' : ' does not allow')
           . ' ' . substr $channel, 0, 8);
    }

    is($joins->('a,b', 'b'), 200, 'an argument');
    is($joins->('a,b', 'c'), 403, 'which does not name it');
};


$nginx->done_testing;
