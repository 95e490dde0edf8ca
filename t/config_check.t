#!/usr/bin/env perl

# What "nginx -t" says of a configuration as a whole. If this fails, an API that
# strangers can reach, a hook that nobody answers or a limit that limits nobody
# goes into production without a word; or those who did nothing wrong are warned.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;

use File::Temp;
use Test::More;

my $dir  = File::Temp->newdir('fanout-XXXXXX', TMPDIR => 1);
my $load = length Fanout::Nginx::module({})
           ? 'load_module ' . Fanout::Nginx::module({}) . ';' : '';

mkdir "$dir/logs";


# What is said of a server with a location, or several.

sub said {
    my ($status, $server, $http) = @_;

    $http //= '';

    open my $f, '>', "$dir/test.conf" or die "test.conf: $!";
    print $f "$load\nworker_processes 1; pid $dir/pid; events { }\n"
             . "http { access_log off; fanout_zone app 8m; $http\n"
             . "server { $server\n } }\n";
    close $f;

    my $said = qx{@{[ Fanout::Nginx::binary() ]} -t -p $dir -c $dir/test.conf -e $dir/log 2>&1};

    is($? >> 8, $status, ($status ? 'refused' : 'taken') . ": $server $http")
        or diag($said);

    return $said;
}

sub silent { unlike(said(0, @_), qr/\[warn\]/, 'and nothing is said') }

sub warned {
    my ($regex, @config) = @_;
    like(said(0, @config), qr/\[warn\] .*$regex/, 'but not without a word');
}

sub refused {
    my ($regex, @config) = @_;
    like(said(1, @config), qr/\[emerg\] .*$regex/, 'and why');
}


my $far   = 'listen 0.0.0.0:18999;';
my $local = 'listen 127.0.0.1:18999;';
my $six   = 'listen [::]:18999;';

subtest 'who may do everything, and see everything' => sub {
    for my $name (qw( fanout_api fanout_status )) {
        my $open = qr/"$name" in location "\/x" is open to everybody.*: guard .*"$name app public"/;
        my $found = $name eq 'fanout_api' ? \&refused : \&warned;

        $found->($open, "$far location /x { $name app; }");
        $found->($open, "listen 18999; location /x { $name app host=x.test; }");
        $found->($open, "$local listen [::]:18999; location /x { $name app; }");
        $found->($open, "$far location /x { $name app; satisfy any; }");
        $found->($open, "$far location /x { $name app; limit_except GET { deny all; } }");
        $found->($open, "$far location /x { $name app; } location /y { allow all; return 204; }");
        $found->($open, "$far location /x { $name app; location /x/y { internal; return 204; } }");

        $found->("$open", "$far location /x { $name app; $_ }")
            for 'allow 127.0.0.1;', 'allow 10.0.0.0/8; allow 127.0.0.1;',
                'allow all;', 'allow all; deny all;', 'deny 10.0.0.1;',
                'deny 10.0.0.1; allow all;', 'auth_basic off;',
                'auth_basic off; auth_basic_user_file x;', 'auth_request off;',
                'satisfy any; allow all; auth_basic x; auth_basic_user_file x;',
                'auth_basic x;';
        $found->("$open", "$far location /x { $name app; allow all; }", 'deny all;');
        $found->("$open", "$far location /x { $name app; auth_basic off; }",
               'auth_basic x; auth_basic_user_file x;');

        $found->('everybody \(its "allow" and "deny" have no "deny all" at the end\): guard',
               "$far location /x { $name app; allow 127.0.0.1; }");
        $found->('everybody \("allow all" satisfies "satisfy any"\): guard',
               "$far location /x { $name app; satisfy any; allow all; auth_basic x;"
               . ' auth_basic_user_file x; }');
        $found->('everybody \("auth_basic" needs "auth_basic_user_file"\): guard',
               "$far location /x { $name app; auth_basic x; }");

        silent("$far location /x { $name app; $_ }")
            for 'allow 127.0.0.1; deny 0.0.0.0/0;',
                'allow ::1; deny 0.0.0.0/0; deny ::/0;', 'allow 127.0.0.1; deny all; allow all;',
                'auth_basic $arg_x; auth_basic_user_file x;',
                'satisfy any; allow 10.0.0.1; deny all; auth_basic x; auth_basic_user_file x;',
                'satisfy any; allow 10.0.0.1; auth_basic x; auth_basic_user_file x;',
                'allow all; auth_basic x; auth_basic_user_file x;';

        $found->('everybody \(its "allow" and "deny" have no "deny all" for IPv6\): guard',
               "$far $six location /x { $name app; $_ }")
            for 'allow 127.0.0.1; deny 0.0.0.0/0;', 'deny 0.0.0.0/0; allow ::1;',
                'deny 0.0.0.0/0; allow ::/0; deny all;';
        $found->('everybody \("allow all" satisfies "satisfy any"\): guard',
               "$six location /x { $name app; satisfy any; allow ::/0; deny all;"
               . ' auth_basic x; auth_basic_user_file x; }');
        silent("$far $six location /x { $name app; $_ }")
            for 'allow 127.0.0.1; deny all;', 'deny 0.0.0.0/0; allow ::1; deny ::/0;';
        silent("$far listen [::1]:18999; location /x { $name app; allow 127.0.0.1; "
               . 'deny 0.0.0.0/0; }');

        silent("$far location /x { $name app public; }");
        silent("$far location /x { $name app host=x.test public; }");
        refused('unknown parameter "open".*"public"',
                "$far location /x { $name app open; }");
        $found->($open, "$far location /x { $name app; $_ }")
            for 'fanout_jwt secret=0123456789abcdef;', 'fanout_user $remote_user;';
        silent("$far location /x { $name app; allow 127.0.0.1; deny all; }");
        silent("$far location /x { $name app; auth_basic x; auth_basic_user_file x; }");
        silent("$far location /x { $name app; auth_request /y; } location /y { return 204; }");
        silent("$far location /x { $name app; internal; }");
        silent("$far location \@x { $name app; }");
        silent("$far deny all; location /x { $name app; }");
        silent("$far location /x { $name app; }", 'allow 10.0.0.0/8; deny all;');
        silent("$far location /x { $name app; deny all; if (\$arg_x) { set \$y 1; } }");
        silent("$local location /x { $name app; }");
        silent("listen [::1]:18999; location /x { $name app; }");
        silent("listen unix:$dir/s; $local location /x { $name app; }");
    }
};


# NGINX runs them in phases of their own: the handler is never asked

subtest 'what answers before the handler' => sub {
    for my $name ('fanout', 'fanout_api', 'fanout_status') {
        my $x = "$local location /x { $name app;"
                . ($name eq 'fanout' ? ' fanout_permit all *;' : '');

        my $before = sub { qr/"$_[0]" in location "\/x" comes before "$name"/ };

        warned($before->('return'), "$x $_ }")
            for 'return 200;', 'return 301 /y;', 'return 200 "a$uri";',
                'set $a 1; return 204;', 'set $a "x$uri$args-"; return 204;',
                'if ($arg_a) { return 403; } return 204;',
                'if ($arg_a = b) { set $c d; } return 204;',
                'if (-f $uri) { set $c d; } return 204;',
                'if ($uri ~ ^/(y)) { set $c $1; } return 204;',
                'if ($uri !~* y$) { set $c "x"; } return 204;',
                'rewrite ^/y /z$1 last; return 204;', 'rewrite ^/y /z; return 204;',
                'set $limit_rate 1k; return 204;';
        warned($before->('rewrite'), "$x $_ }")
            for 'rewrite ^ /y last;', 'rewrite ^/(.*)$ /y/$1;',
                'rewrite ^ https://x.test permanent;', 'set $a 1; rewrite .* /y;';
        warned($before->('try_files'), "$x try_files \$uri =404; }");
        warned(qr/"return" in the server of location "\/x" comes before "$name"/,
               "return 301 https://x.test; $x }");
        warned(qr/"rewrite" in the server of location "\/x" comes before "$name"/,
               "rewrite ^ https://x.test; $x }");

        silent("$x $_ }")
            for 'set $a 1;', 'set $a "$uri-$args";', 'if ($arg_a) { return 403; }',
                'if ($arg_a = b) { return 403; } if ($arg_b) { return 403; }',
                'rewrite ^ /y break;', 'rewrite ^/y /z last;', 'break; return 204;',
                'rewrite ^ /y; break;', 'if ($arg_a) { break; } return 204;',
                'if ($uri ~ ^/x) { break; } return 301 /y;',
                'rewrite ^/x/(.*)$ /x?a=$1 break; return 404;',
                'if ($arg_a) { rewrite ^/x /x/y break; } return 404;', 'error_page 404 /x; root html;',
                'location /x/y { return 204; }';
        silent("if (\$host = y) { return 301 https://x.test; } $x }");
        silent("$_ return 301 https://x.test; $x }")
            for 'if ($uri ~ ^/x) { break; }', 'rewrite ^/old/(.*)$ /x/$1 last;',
                'if ($arg_a) { rewrite ^ /x last; }';
        silent("$x } location /y { return 204; try_files a =404; }");
    }
};


subtest 'hooks' => sub {
    my $hook = "$local fanout_hook app /hooks/x?a=b";

    for my $event ('join', 'publish', 'publish join') {
        warned('fanout_hook "/hooks/x\?a=b" names no location of its server',
               "$hook $event; location /hook/ { proxy_pass http://127.0.0.1:1; }");
        warned('fanout_hook "/hooks/x\?a=b" names no location', "$hook $event;");
        warned('"/hooks/x\?a=b" names location "/", which serves files: .* 405',
               "$hook $event; location / { root html; }"
               . ' location = /hooks { proxy_pass http://127.0.0.1:1; }');
        silent("$hook $event; location /hooks/ { error_page 405 =200 \@b; }"
               . ' location @b { proxy_pass http://127.0.0.1:1; }');
        warned('names location "/hooks/", which serves files',
               "$hook $event; location ~ ^/h { proxy_pass http://127.0.0.1:1; }"
               . ' location ^~ /hooks/ { internal; }');
        silent("$hook $event; location / { root html; }"
               . ' location /hooks/ { internal; proxy_pass http://127.0.0.1:1; }');
    }

    my %here = (fanout => 'fanout app; fanout_permit all *', fanout_api => 'fanout_api app',
                fanout_status => 'fanout_status app');

    for my $name (sort keys %here) {
        warned(qq{"/hooks/x\\?a=b" names location "/hooks/", which has "$name": no backend},
               "$hook $_; location /hooks/ { $here{$name}; }") for 'join', 'publish';
        silent("$hook join; location / { $here{$name}; } location /hooks/ { return 204; }");
    }

    silent("$hook join; location $_ { return 204; } location / { }")
        for '/hooks', '= /hooks/x', '~ ^/hooks/.$', '~* X$', '^~ /hooks/';
    silent("$hook join; location /hooks { location /hooks/x { return 204; } }");
    silent("$hook join; location /hooks { if (\$arg_a) { return 204; } }");
    silent("$hook join; location / { try_files /x \@y; } location \@y { return 204; }");
    silent("$hook join; rewrite ^/hooks/(.*) /z/\$1; location /z/ { return 204; }");
    warned('"/h" names no location',
           "$local fanout_hook app /h join; fanout_hook app /i publish;"
           . ' location /i { return 204; }');
    warned('"/i" names no location',
           "$local fanout_hook app /h join; fanout_hook app /i publish;"
           . ' location /h { return 204; }');
};


subtest 'users, where nobody has a name' => sub {
    my $x = "$local location /x { fanout app; fanout_permit all *;";

    warned('"fanout_sessions_per_user" does nothing in location "/x", which has '
           . 'no "fanout_user"', "$x fanout_sessions_per_user 3; }");
    warned(qr/"fanout_jwt" does nothing in location "\/x", which has no "fanout"/,
           "$local location /x { $_ app; fanout_jwt secret=0123456789abcdef; }")
        for qw( fanout_api fanout_status );
    warned('"fanout_sessions_per_user" does nothing in location "/x"',
           "$x }", 'fanout_sessions_per_user 3;');

    # a token that comes with the first command

    my $first = 'fanout_jwt secret=0123456789abcdef from=command;';

    for ([ 'fanout_dialect raw', 'fanout_dialect raw;' ],
         [ 'fanout_autojoin', 'fanout_autojoin a;' ],
         [ 'fanout_transports without websocket', 'fanout_transports sse poll;' ])
    {
        my ($other, $line) = @$_;
        my $why = "\"from=command\" of \"fanout_jwt\" conflicts with "
                  . "\"$other\" in location \"/x\"";

        refused($why, "$x fanout_user \$fanout_claim_sub; $first $line }");
        refused($why, "$x fanout_user \$fanout_claim_sub; $line }", $first);
    }

    silent("$x fanout_user \$fanout_claim_sub; $first }");
    silent("$x fanout_user \$fanout_claim_sub; $first fanout_transports websocket sse; }");
    silent("$x fanout_user \$arg_u; fanout_jwt off; fanout_dialect raw; }", $first);
    silent("$local location /x { return 204; }", $first);
    warned('"fanout_budget user" does nothing in location "/x"',
           "$x fanout_budget user bytes=64k/s; }");
    warned('"user:\$fanout_user" is not a channel in location "/x"',
           "$x fanout_permit join 'user:\$fanout_user'; }");
    warned('"user:\$\{fanout_user\}x" is not a channel in location "/x"',
           "$x fanout_autojoin 'user:\${fanout_user}x'; }");

    silent("$x fanout_budget $_; }") for 'off', 'user off';
    silent("$x fanout_user \$arg_u; fanout_sessions_per_user 3;"
           . ' fanout_budget user bytes=64k/s; fanout_permit all user:$fanout_user; }');
    silent("$x fanout_sessions_per_user 3; }", 'fanout_user $arg_u;');
    warned('"fanout_user" has no variable in location "/x": all clients there are the user "arg_u"',
           "$x fanout_user arg_u; }");
    warned('"fanout_user" has no variable in location "/x"', "$x }", 'fanout_user u;');
    silent("$x fanout_user $_; }") for '$arg_u', '"u:$arg_u"', '""';
    silent("$x }", 'fanout_channel app $SYS/* history=1; fanout_channel app a$$b history=1;');
    warned('"fanout_origin" does nothing', "$local location /x { fanout_api app; fanout_origin $_; }")
        for 'same', 'https://a.test';
    silent("$local location /x { $_ app; fanout_origin same scheme=https; }")
        for 'fanout_api', 'fanout_status';
};


# what is said, and turned off by something else

subtest 'what has no effect' => sub {
    my $x = "$local location /x { fanout app; fanout_permit all *;";

    my %for = (
        'websocket' => [ 'fanout_poll_timeout 1s' ],
        'sse post'  => [ 'fanout_poll_timeout 1s', 'fanout_deflate on' ],
        'post'      => [ 'fanout_ping 1s', 'fanout_timeout 1s', 'fanout_send_timeout 1s',
                         'fanout_poll_timeout 1s', 'fanout_deflate on' ],
        'poll'      => [ 'fanout_ping 1s', 'fanout_timeout 1s', 'fanout_send_timeout 1s',
                         'fanout_deflate on' ],
    );

    for my $transports (sort keys %for) {
        for my $line (@{ $for{$transports} }) {
            my ($name) = split ' ', $line;

            warned(qr/"$name" does nothing in location "\/x": it is for .*"fanout_transports" leaves out/,
                   "$x fanout_transports $transports; $line; }");
            warned(qr/"$name" does nothing/, "$x $line; }",
                   "fanout_transports $transports;");
            silent("$x fanout_transports $transports; }", "$line;");
        }
    }

    silent("$x fanout_transports $_; }")
        for 'sse; fanout_ping 1s; fanout_timeout 1s; fanout_send_timeout 1s',
            'poll; fanout_poll_timeout 1s', 'websocket; fanout_deflate on',
            'post; fanout_batch 3; fanout_retry 1s; fanout_resume 1s',
            'sse; fanout_deflate off';

    my $raw = "$x fanout_user \$arg_u; fanout_dialect raw;";

    for my $line ('fanout_poll_timeout 1s', 'fanout_batch 3', 'fanout_history 3',
                  'fanout_resume 1m', 'fanout_channels_per_session 3',
                  'fanout_presence_size 1k', 'fanout_sessions_per_user 3')
    {
        my ($name) = split ' ', $line;

        warned(qr/"$name" does nothing in location "\/x": .*"fanout_dialect" is raw/,
               "$raw $line; }");
        silent("$x fanout_user \$arg_u; $line; }");
        silent("$raw }", "$line;");
    }

    warned('"fanout_permit" of "a" allows nothing in location "/x": "fanout_dialect" is raw',
           "$raw fanout_permit presence,history,signal a; }");
    silent("$raw fanout_permit join,presence a; fanout_permit publish b; }");
    silent("$raw fanout_ping 1s; fanout_deflate on; fanout_sessions 3; }");

    warned('"fanout_deflate_ratio" does nothing in location "/x", where "fanout_deflate" is off',
           "$x fanout_deflate_ratio 3; }");
    silent("$x fanout_deflate_ratio 3; }", 'fanout_deflate on;');
    silent("$x }", 'fanout_deflate_ratio 3;');

    warned('"scheme=" of "fanout_origin" does nothing in location "/x": it is for "same"',
           "$x fanout_origin scheme=https $_; }") for 'https://a.test', '*';
    warned('"scheme=" of "fanout_origin" does nothing',
           "$x fanout_origin scheme=https; }", 'fanout_origin https://a.test;');
    silent("$x fanout_origin scheme=https; }");
    silent("$x fanout_origin scheme=https; fanout_origin * same; }");
    silent("$x fanout_origin https://a.test; }", 'fanout_origin scheme=https;');
};


subtest 'what the zone can not hold' => sub {
    my $x = "$local location /x { fanout app; fanout_permit all *;";

    warned('"fanout_message_size" of location "/x" is 5242880 bytes, but a message '
           . 'may take only half of zone "app", 4194304', "$x fanout_message_size 5m; }");
    warned('"fanout_message_size" of location "/y" is 5242880 bytes',
           "$local location /y { fanout_api app; }", 'fanout_message_size 5m;');
    warned('"fanout_message_size" of location "/x" is 131072 bytes, but "bytes=100000" '
           . 'of "fanout_channel" "a" keeps no message as long',
           "$x fanout_message_size 128k; }", 'fanout_channel app a history=9 bytes=100000;');
    warned('"fanout_buffer" of location "/x" is 2097152 bytes, but "frames=" of zone "few"',
           "$local location /x { fanout few; fanout_permit all *; fanout_buffer 2m; }",
           'fanout_zone few 8m frames=1m;');

    my $said = said(0, "$local location /x { } location /y { }", 'fanout_broadcast app x;'
                    . ' fanout_broadcast app y; fanout_broadcast_size 5m;');

    is(scalar(() = $said =~ /\[warn\] "fanout_broadcast_size" is 5242880 bytes, but .* "app", 4194304/g),
       1, 'a broadcast, once');

    silent("$x fanout_message_size 4m; fanout_buffer 64m; }");
    silent("$x }", 'fanout_channel app a history=9 bytes=1k;');

    my ($small, $y) = ('fanout_channel app room:* history=9 bytes=100000;',
                       "$local location /y { fanout app; fanout_message_size 128k;");

    warned('"bytes=100000" of "fanout_channel" "room:\*"', "$y fanout_permit $_; }", $small)
        for 'all *', 'join room:*', 'join a; fanout_permit all room:1',
            'join $arg_x', 'join ro*', 'join room:$arg_x';
    warned('"bytes=100000"', "$local location /y { fanout_api app; fanout_message_size 128k; }",
           $small);
    silent("$y fanout_permit $_; }", $small)
        for 'all file:*', 'join room', 'join roam:*', 'join rooms:$arg_x';
    silent("$x fanout_message_size 32k; }", 'fanout_channel app a history=9 bytes=32k;');
    silent("$local location /x { }", 'fanout_broadcast app x; fanout_broadcast_size 4m;');
};


# what the documentation shows is right: nobody is warned of it

subtest 'README' => sub {
    open my $f, '<', "$FindBin::Bin/../README.md" or die $!;
    my $readme = do { local $/; readline $f };

    my ($five) = $readme =~ /^```nginx http\n(.*?)^```/ms or die;

    like($five, qr/fanout_api/, 'five lines');

    open my $conf, '>', "$dir/test.conf" or die $!;
    print $conf "$load\npid $dir/pid; events { }\nhttp { access_log off;\n$five\n}\n";
    close $conf;

    my $said = qx{@{[ Fanout::Nginx::binary() ]} -t -p $dir -c $dir/test.conf -e $dir/log 2>&1};

    is($?, 0, 'are taken');
    unlike($said, qr/\[\w+\]/, 'and nothing is said') or diag($said);
};

done_testing();
